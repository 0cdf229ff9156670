"""Save the weights of a checkpoint alone, also of the teacher or the student of a semi-supervised training."""

import _start

import argparse
import io
from pathlib import Path

import torch

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.datasets.files import check_writable, write_atomically
from fnoise_mmdet.engine.checkpoint import load_checkpoint, published
from fnoise_mmdet.errors import InputError


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
    cli.add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out_file.exists():
        raise InputError(f'{args.out_file} already exists and is not changed: use another name')
    check_writable(args.out_file.parent)
    content = io.BytesIO()
    torch.save(published(load_checkpoint(args.in_file), args.in_file, args.part), content)
    args.out_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out_file, content.getvalue())
    print(f'wrote {args.out_file}, {len(content.getvalue()) / 1e6:.1f} MB')


if __name__ == '__main__':
    _start.run(main)
