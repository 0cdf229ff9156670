"""Save the weights of a checkpoint alone, also of the teacher or the student of a semi-supervised training."""

import argparse
from pathlib import Path

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Save what inference and fine-tuning need of a checkpoint: weights and classes, without the state '
        'of the training. With --part the teacher or the student of a semi-supervised training becomes the checkpoint '
        'of a plain detector.',
        examples=[
            'work_dirs/semi/fnoise/seed_0/iter_640.pth teacher.pth --part teacher',
        ],
    )
    parser.add_argument('in_file', help='checkpoint file')
    parser.add_argument('out_file', type=Path, help='file to write, which must not exist')
    parser.add_argument(
        '--part', choices=['teacher', 'student'], help='detector to save from a semi-supervised training'
    )
    options.add_trust_option(parser)
    return parser.parse_args()
