"""Signals and processes of a command line: Ctrl-C during the imports, and children that end with their parent."""

import contextlib
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def _interrupted(number: int, _frame: object) -> None:
    os.write(2, b'interrupted\n')
    os._exit(128 + number)  # nothing to clean up yet


def _kill_with_parents() -> None:
    """Make the kernel kill this process with the tool that started it, and its children with it.

    A data loader worker that blocks on a full pipe would not notice that the training was killed, and would keep its
    memory; a training would continue without its study.
    """
    import ctypes
    import select
    import threading

    prctl = ctypes.CDLL(None).prctl
    forking: list[int] = []  # process id of the forking parent, copied to the child

    def kill_with_parent(parent: int | None = None) -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent not in (None, os.getppid()):  # the parent was already killed
            os.kill(os.getpid(), signal.SIGKILL)

    def kill_after(process: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(process)], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    os.register_at_fork(
        before=lambda: forking.append(os.getpid()),
        after_in_parent=forking.clear,
        after_in_child=lambda: kill_with_parent(forking[-1]),
    )
    tool = os.environ.get('FNOISE_PARENT')
    os.environ['FNOISE_PARENT'] = str(os.getpid())  # for spawned children
    if tool or 'TORCHELASTIC_RUN_ID' in os.environ:
        kill_with_parent()
    if tool and int(tool) != os.getppid():  # torchrun or a fork server in between, or the tool was already killed
        threading.Thread(target=kill_after, args=[int(tool)], daemon=True).start()


def raise_keyboard_interrupt() -> None:
    """Restore KeyboardInterrupt on Ctrl-C, once the imports are done."""
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def protect() -> None:
    """Exit with one line on Ctrl-C until :func:`raise_keyboard_interrupt`, and exit with the parent process."""
    # Keep Ctrl-C ignored if the process was started so, e.g. by nohup.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    if sys.platform == 'linux':
        _kill_with_parents()
