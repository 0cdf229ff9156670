"""Write ``projects/FNoise`` in the layout of mmdet's projects: noises and neck, a config and a README."""

import _start

import argparse
import shutil
from pathlib import Path

from fnoise_mmdet.cli.parser import ArgumentParser
from fnoise_mmdet.comparison.measure_table import study_page
from fnoise_mmdet.comparison.saved_comparison import read_comparisons
from fnoise_mmdet.datasets.files import staged_folder

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'fnoise_mmdet'
CODE = ('noise', 'models/layers', 'models/necks', 'models/wrapping.py', 'errors.py')
INIT = '''"""Feature noise for detectors: noises, and a neck wrapper that applies one of them in training."""

from .models.necks import FNoiseNeck
from .noise import NOISES, FeatureNoise

__all__ = ['NOISES', 'FNoiseNeck', 'FeatureNoise']
'''
CONFIG = """_base_ = '../../../configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['projects.FNoise.fnoise'], allow_failed_imports=False)
model = dict(
    neck=dict(
        _delete_=True, type='FNoiseNeck', neck={{_base_.model.neck}}, noise=dict(type='FeatureNoise', preset='cct')
    )
)
"""
CONFIG_NAME = 'mask-rcnn_r50_fpn_fnoise_1x_coco.py'


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description="Write the folder that could be offered to mmdet's projects/: code and results are those of this "
        'checkout.',
        examples=['--out mmdetection/projects/FNoise'],
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/projects/FNoise'), help='folder to write')
    parser.add_argument('--force', action='store_true', help='replace the contents of the folder')
    return parser.parse_args()


def write_project(folder: Path) -> None:
    """Write code, config and page to a folder."""
    code = folder / 'fnoise'
    ignored = shutil.ignore_patterns('__pycache__')
    for name in CODE:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        if (PACKAGE / name).is_dir():
            shutil.copytree(PACKAGE / name, code / name, ignore=ignored)
        else:
            shutil.copy(PACKAGE / name, code / name)
    (code / '__init__.py').write_text(INIT)
    (code / 'models/__init__.py').write_text('"""Modules of detectors, registered in mmdet\'s ``MODELS``."""\n')
    (folder / 'configs').mkdir()
    (folder / 'configs' / CONFIG_NAME).write_text(CONFIG)
    kept = sorted((ROOT / 'docs/study/embedded').glob('seeds_*.json'))
    study = read_comparisons(kept, ['cct_0.3'], ['coco/bbox_mAP', 'coco/segm_mAP'])
    page = Path(__file__).with_name('project_readme.md').read_text(encoding='utf-8')
    (folder / 'README.md').write_text(
        page.replace('@CONFIG@', CONFIG_NAME).replace('@RESULTS@', study_page(study)), encoding='utf-8'
    )


def main() -> None:
    args = parse_args()
    with staged_folder(args.out, args.force) as folder:
        write_project(folder)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    _start.run(main)
