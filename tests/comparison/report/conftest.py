"""A small study that was really trained, and its report."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fnoise_mmdet.comparison import chart_groups, compare, find_groups, read_conditions
from fnoise_mmdet.comparison.report import detection_pictures, write_report


@pytest.fixture(scope='session')
def study(root: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditions of two seeds, each trained for 8 iterations."""
    folder = tmp_path_factory.mktemp('study')
    for name in ('baseline', 'fnoise'):
        for seed in (0, 1):
            command = [
                sys.executable, str(root / 'tools/train.py'), f'configs/demo_{name}.py', '--data-root', str(shapes),
                '--work-dir', str(folder / name / f'seed_{seed}'), '--cfg-options', f'randomness.seed={seed}',
                'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
                'train_dataloader.persistent_workers=False', 'val_dataloader.persistent_workers=False',
                'train_cfg.max_epochs=2', 'default_hooks.logger.interval=1', 'log_processor.window_size=1',
                'custom_hooks.1.interval=4',
            ]  # fmt: skip
            env = {**os.environ, 'OMP_NUM_THREADS': '1'}
            subprocess.run(command, cwd=root, check=True, capture_output=True, env=env)
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
    comparison, groups = compare(conditions, warnings), chart_groups(conditions)
    write_report(out, comparison, groups, title, detections=detections, command='python x.py')
    return out


@pytest.fixture(scope='session')
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the study, whose title tries to be a script."""
    return _report(study, tmp_path_factory.mktemp('report'), '<script>alert(1)</script>')


@pytest.fixture(scope='session')
def broken_report(broken_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the broken study."""
    return _report(broken_study, tmp_path_factory.mktemp('report'), 'broken')
