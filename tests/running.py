"""Run command lines in forked processes, because their imports take seconds."""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    'train_dataloader.batch_size=4',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=1',
    'default_hooks.logger.interval=1',
    'log_processor.window_size=1',
]

# Of one thread, because sums of several are not repeated to the last bit on every machine.
ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'COLUMNS': '160'}

PRELOADED = [
    'plain_configs',
    'fnoise_mmdet',
    'fnoise_mmdet.commands.start',
    'fnoise_mmdet.comparison.report',
    'mmdet.apis',
]

Tool = Callable[..., subprocess.CompletedProcess]


def _execute(script: str, arguments: list[str], cwd: Path, output: Path) -> None:
    """Be a process that runs a script: it has its own arguments, output and working directory."""
    for stream, name in ((sys.stdout, 'stdout'), (sys.stderr, 'stderr')):
        stream.flush()
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT), 2 if name == 'stderr' else 1)
    os.chdir(cwd)
    os.environ |= ENVIRONMENT
    sys.argv[:] = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    gc.freeze()  # mmengine collects garbage for each data set
    runpy.run_path(script, run_name='__main__')


def in_new_process(script: str) -> str:
    """Run a script in a new process, and return the last line that it prints."""
    return subprocess.check_output([sys.executable, '-W', 'ignore', '-c', script], text=True).splitlines()[-1]


def make_tool(make_folder: Callable[[str], Path]) -> Tool:
    """Run a command line of the checkout; it must end with the given status, and without a stack trace.

    Each is a process of its own, forked from a server that has imported what
    takes seconds, and has computed nothing.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:  # threads are counted when torch is imported
        for key, value in ENVIRONMENT.items():
            patch.setenv(key, value)
        forkserver.ensure_running()

    def run(name: str, *arguments: object, status: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        command = [str(ROOT / 'tools' / f'{name}.py'), *map(str, arguments)]
        output = make_folder('output')
        process = context.Process(target=_execute, args=(command[0], command[1:], cwd, output))
        process.start()
        process.join()
        texts = [(output / name).read_text() if (output / name).exists() else '' for name in ('stdout', 'stderr')]
        result = subprocess.CompletedProcess(command, process.exitcode, *texts)
        assert result.returncode == status, result.stdout[-2000:] + result.stderr[-4000:]
        assert status == 0 or 'Traceback' not in result.stderr
        return result

    return run
