"""Signals and processes of a command line: Ctrl-C during the imports, and children that end with their parent."""

import contextlib
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def _interrupted(number: int, _frame: object) -> None:
    os.write(2, b'interrupted\n')
    os._exit(128 + number)  # nothing has begun that must be ended


def _kill_with_parents() -> None:
    """Have the system kill this process with the tool that has started it, if any, and its children with it.

    A worker of a data loader that waits to write into a full pipe would not notice that the training was killed, and
    would keep its memory; a training would go on for a study that is no more.
    """
    import ctypes
    import select
    import threading

    prctl = ctypes.CDLL(None).prctl
    forking: list[int] = []  # process id of the one that forks, of which a child has a copy

    def kill_with_parent(parent: int | None = None) -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent not in (None, os.getppid()):  # it was killed before
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
    os.environ['FNOISE_PARENT'] = str(os.getpid())  # for children that are not forked, but started
    if tool or 'TORCHELASTIC_RUN_ID' in os.environ:
        kill_with_parent()
    if tool and int(tool) != os.getppid():  # torchrun or a fork server stands between the two, or it was killed before
        threading.Thread(target=kill_after, args=[int(tool)], daemon=True).start()


def raise_keyboard_interrupt() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, as it does in Python, once the imports are done."""
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# In a process that was started with Ctrl-C ignored, by nohup for example, it remains ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupted)
if sys.platform == 'linux':
    _kill_with_parents()
