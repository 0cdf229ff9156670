"""Divide the training images of a data set into labelled and unlabelled ones."""

import argparse
from pathlib import Path

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Divide the images of an annotation file into labelled and unlabelled ones, drawn without '
        'replacement; the files are named as by mmdet, NAME.FOLD@PERCENT.json and NAME.FOLD@PERCENT-unlabeled.json.',
        examples=[
            'data/coco/annotations/instances_train2017.json --percent 1 5 10 --fold 1 2 3 4 5',
            'data/shapes/annotations/instances_train.json --number 64',
        ],
    )
    parser.add_argument('ann_file', type=Path, metavar='ANNOTATIONS.json', help='annotations in COCO format')
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--percent', type=float, nargs='+', help='percentages of labelled images')
    how.add_argument('--number', type=options.at_least(1), nargs='+', help='numbers of labelled images')
    how.add_argument(
        '--ids', type=Path, metavar='FILE', help='labelled images: a JSON list of ids, or an annotation file with them'
    )
    parser.add_argument(
        '--fold', type=options.at_least(0), nargs='+', default=[1], help='folds, which are seeds of the draw'
    )
    parser.add_argument('--out', type=Path, help='folder of the files (default: that of ANNOTATIONS.json)')
    args = parser.parse_args()
    if args.percent and not all(0 < percent < 100 for percent in args.percent):
        parser.error('argument --percent: must be above 0 and below 100')
    for name in ('percent', 'number', 'fold'):
        values = getattr(args, name) or []
        if len(set(values)) < len(values):
            parser.error(f'argument --{name}: the values must differ')
    if args.ids and len(args.fold) > 1:
        parser.error('argument --fold: --ids names the images of one fold')
    return args
