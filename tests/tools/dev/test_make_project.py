"""The project is trained by mmdet's own tool, without this package."""

import os
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

MIM = Path(mmdet.__file__).parent / '.mim'
CONFIG = 'projects/FNoise/configs/mask-rcnn_r50_fpn_fnoise_1x_coco.py'


@pytest.fixture(scope='module')
def repository(root, tmp_path_factory):
    """A folder like mmdet's repository, and packages that must not be imported."""
    folder = tmp_path_factory.mktemp('mmdetection')
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(MIM / name)
    command = [sys.executable, root / 'tools/dev/make_project.py', '--out', folder / 'projects/FNoise']
    subprocess.run(command, check=True, capture_output=True)
    for name in ('fnoise_mmdet', 'torchvision'):  # the latter cannot be imported beside every build of torch
        (folder / 'none' / name).mkdir(parents=True)
        (folder / 'none' / name / '__init__.py').write_text('raise ModuleNotFoundError(__name__)')
    return folder


def test_nothing_refers_to_what_the_project_does_not_have(repository):
    for file in (repository / 'projects').rglob('*.py'):
        assert 'import fnoise_mmdet' not in file.read_text() and 'from fnoise_mmdet' not in file.read_text()
    page = (repository / 'projects/FNoise/README.md').read_text()
    assert CONFIG in page and '| mask AP ↑ | 0.325 ± 0.009 | 0.325 ± 0.013 |' in page


@pytest.mark.slow
def test_mmdets_own_tool_trains_it(repository, shapes):
    options = ['model.backbone.init_cfg=None', 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']
    for part, step in (('train', 2), ('val', 1)):
        loader = f'{part}_dataloader'
        options += [
            f'{loader}.dataset.data_root={shapes}/',
            f'{loader}.dataset.ann_file=annotations/instances_test.json',
            f'{loader}.dataset.data_prefix.img=test/',
            f'{loader}.dataset.metainfo.classes=(circle,bar,triangle,cross,ring)',
            f'{loader}.dataset.pipeline.{step}.scale=(128,128)',
            f'{loader}.dataset.indices=4',
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
        ]
    options.append(f'val_evaluator.ann_file={shapes}/annotations/instances_test.json')
    paths = f'{repository / "none"}{os.pathsep}{repository}'
    trained = subprocess.run(
        [sys.executable, 'tools/train.py', CONFIG, '--work-dir', 'out', '--cfg-options', *options],
        cwd=repository,
        env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert 'FNoiseNeck' in trained.stdout + trained.stderr and (repository / 'out/epoch_1.pth').is_file()
