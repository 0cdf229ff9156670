"""Evaluate a checkpoint, and draw its detections."""

import argparse

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Evaluate a checkpoint on the test split. F-Noise is applied in training only: configs with and '
        'without it give the same result for a checkpoint.',
        examples=[
            'configs/fnoise.py work_dirs/fnoise/epoch_10.pth --show-dir pictures',
        ],
        answers={
            '--show': 'save the pictures with --show-dir DIR',
            '--wait-time': 'pictures are saved with --show-dir DIR, not shown',
            '--tta': "evaluate with mmdet's own tools/test.py --tta (.mim/tools/test.py in the folder of the installed "
            'package mmdet), which takes the same checkpoint and the path of a config',
        },
    )
    options.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    options.add_runner_arguments(parser, 'work_dirs/CONFIG_NAME/test')
    parser.add_argument('--out', help='save the predictions to this pickle file (.pkl)')
    parser.add_argument('--show-dir', help='save images with ground truth next to detections to this folder')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out must end in .pkl or .pickle, but got {args.out}')
    return args
