"""Tools are tested by running them; what is trained once serves all of their tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
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

Tool = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope='session')
def tool() -> Tool:
    """Run a command line of the checkout; it must end with the given status, and without a stack trace."""

    def run(name: str, *arguments: object, status: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / 'tools' / f'{name}.py'), *map(str, arguments)]
        # Of one thread, because sums of several are not repeated to the last bit on every machine.
        env = {**os.environ, 'OMP_NUM_THREADS': '1', 'COLUMNS': '160'}
        result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        assert result.returncode == status, result.stdout[-2000:] + result.stderr[-4000:]
        assert status == 0 or 'Traceback' not in result.stderr
        return result

    return run


@pytest.fixture(scope='session')
def small() -> list[str]:
    """Options that make a training small."""
    return SMALL


@pytest.fixture(scope='session')
def runs(tool: Tool, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Work dirs of a baseline, and of an F-Noise run whose validations find nothing."""
    folder = tmp_path_factory.mktemp('work_dirs')
    options = dict(demo_baseline=[], demo_fnoise=['model.test_cfg.rcnn.score_thr=1.0'])
    for name, extra in options.items():
        tool(
            'train', f'configs/{name}.py', '--data-root', shapes, '--work-dir', folder / name,
            '--cfg-options', *SMALL, *extra,
        )  # fmt: skip
    return SimpleNamespace(baseline=folder / 'demo_baseline', fnoise=folder / 'demo_fnoise')
