"""Trainings that serve all tests of the tools."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import SMALL, Tool


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
