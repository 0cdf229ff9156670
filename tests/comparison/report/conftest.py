"""A small study that was really trained, and its report."""

import json
import shutil
from pathlib import Path

import pytest
from running import Tool

from fnoise_mmdet.comparison import compare, find_groups, read_conditions
from fnoise_mmdet.comparison.report import detection_pictures, write_report


@pytest.fixture(scope='session')
def study(tool: Tool, shapes: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditions of two seeds, each trained for 8 iterations."""
    folder = tmp_path_factory.mktemp('study')
    for name in ('baseline', 'fnoise'):
        for seed in (0, 1):
            tool(
                'train', f'configs/demo_{name}.py', '--data-root', shapes, '--work-dir', folder / name / f'seed_{seed}',
                '--cfg-options', *small, f'randomness.seed={seed}', 'custom_hooks.1.images=0',
            )  # fmt: skip
    return folder


@pytest.fixture(scope='session')
def broken_study(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a run whose losses turn NaN, and one that is shorter and has a torn last line."""
    folder = shutil.copytree(study, tmp_path_factory.mktemp('broken') / 'study')
    (log,) = (folder / 'fnoise/seed_1').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows[3:]:
        if 'loss_mask' in row:
            row['loss'] = row['loss_mask'] = float('nan')
    log.write_text('\n'.join(map(json.dumps, rows)))
    (log,) = (folder / 'baseline/seed_1').glob('*/vis_data/scalars.json')
    log.write_text('\n'.join(log.read_text().splitlines()[:3]) + '\n{"loss": 1')
    return folder


def _report(folder: Path, out: Path, title: str) -> Path:
    conditions, warnings = read_conditions(find_groups([folder]))
    detections = detection_pictures(conditions, 2, 0.0)
    write_report(out, compare(conditions, warnings), title, detections=detections, command='python x.py')
    return out


@pytest.fixture(scope='session')
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the study, whose title tries to be a script."""
    return _report(study, tmp_path_factory.mktemp('report'), '<script>alert(1)</script>')


@pytest.fixture(scope='session')
def broken_report(broken_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the broken study."""
    return _report(broken_study, tmp_path_factory.mktemp('report'), 'broken')
