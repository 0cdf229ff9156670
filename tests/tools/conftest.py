"""Trainings that serve all tests of the tools."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import SMALL, Tool


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


@pytest.fixture(scope='session')
def few_labels(tool: Tool, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small data set with 8 of its 16 training images, and the annotation file of the others."""
    out = tmp_path_factory.mktemp('few_labels')
    tool('split_coco', shapes / 'annotations/instances_train.json', '--number', 8, '--out', out)
    data = out / 'data'
    shutil.copytree(shapes, data)
    shutil.copyfile(out / 'instances_train.1@8_images.json', data / 'annotations/instances_train.json')
    return data, out / 'instances_train.1@8_images-unlabeled.json'
