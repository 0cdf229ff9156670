"""Draw a small, reproducible sample from a COCO folder."""

import argparse
from pathlib import Path

from fnoise_mmdet import cli
from fnoise_mmdet.data import sample_coco


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw a reproducible sample, without replacement, from a folder in COCO layout: training images '
        'from its train part, validation and test images from its val part. The drawn ids are saved in sample.json.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--from',
        dest='source',
        type=Path,
        required=True,
        metavar='DIR',
        help='COCO folder: annotations/instances_{train,val}2017.json beside train2017/ and val2017/, '
        'or the same names without 2017',
    )
    parser.add_argument('--out', type=Path, default=Path('data/coco_sample'), help='folder to make')
    parser.add_argument('--num-train', type=cli.at_least(0), default=88, help='number of training images')
    parser.add_argument('--num-val', type=cli.at_least(0), default=22, help='number of validation images')
    parser.add_argument('--num-test', type=cli.at_least(0), default=10, help='number of test images')
    parser.add_argument('--seed', type=cli.at_least(0), default=0, help='seed of the draw')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sample_coco(
        args.source, args.out, args.num_train, args.num_val, args.num_test, args.seed, progress=cli.show_progress
    )
    print(f'wrote {args.num_train} train, {args.num_val} val and {args.num_test} test images to {args.out}')


if __name__ == '__main__':
    cli.run(main)
