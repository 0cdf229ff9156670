"""Draw a small, reproducible sample from COCO, or a fold of it: from a local folder, or over the network."""

import argparse
from pathlib import Path

from ..choices import COCO_URL
from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Draw a reproducible sample, without replacement, from COCO: training images '
        'from train, validation and test images from val. The drawn ids are saved in sample.json.',
        examples=[
            '--from data/coco',
            '--from data/coco --fold 0/5 --out data/fold_0',
            '--download --split val',
        ],
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--from',
        dest='source',
        type=Path,
        metavar='DIR',
        help='COCO folder: annotations/instances_{train,val}2017.json, train2017/ and val2017/, '
        'or the same names without 2017',
    )
    source.add_argument(
        '--download',
        action='store_true',
        help='download only the annotations and the drawn images; the same command resumes after an interruption',
    )
    parser.add_argument('--out', type=Path, default=Path('data/coco_sample'), help='folder to create')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=['train', 'val'],
        default=['train', 'val'],
        help='splits of COCO to draw from; with one, all images are drawn from it, without overlap',
    )
    parser.add_argument('--num-train', type=options.at_least(0), default=88, help='number of training images')
    parser.add_argument('--num-val', type=options.at_least(0), default=22, help='number of validation images')
    parser.add_argument('--num-test', type=options.at_least(0), default=10, help='number of test images')
    parser.add_argument('--seed', type=options.seed, default=0, help='seed of the draw')
    parser.add_argument(
        '--ids',
        type=Path,
        metavar='FILE',
        help='sample.json of another sample, whose images are taken instead of a draw; numbers and seed are ignored',
    )
    parser.add_argument(
        '--fold',
        type=fold_of,
        metavar='K/N',
        help='instead of a draw, fold K (from 0) of a cross-validation with N folds over all images of the splits: '
        'the fold is val, all other images are train; numbers are ignored',
    )
    parser.add_argument(
        '--supercategories',
        action='store_true',
        help='annotate objects with their supercategory (12 in COCO) instead of their category (80)',
    )
    network = parser.add_argument_group('with --download')
    network.add_argument('--year', type=int, choices=[2014, 2017], default=2017, help='year of the data set')
    network.add_argument(
        '--url',
        default=COCO_URL,
        help='server with annotations/annotations_trainval{year}.zip, train{year}/ and val{year}/; '
        'proxies are read from the environment (http_proxy, https_proxy, no_proxy)',
    )
    network.add_argument(
        '--cache',
        type=Path,
        metavar='DIR',
        help='cache folder for downloads, for other draws (default: next to the sample, removed when it is complete)',
    )
    network.add_argument('--workers', type=options.at_least(1), default=8, help='number of parallel connections')
    network.add_argument(
        '--timeout',
        type=options.at_least(1),
        default=30,
        help='seconds without data after which a connection is closed; an answer (an image or a MiB of the '
        'annotations) may take several times as long',
    )
    network.add_argument('--retries', type=options.at_least(0), default=5, help='retries per file')
    args = parser.parse_args()
    if len(set(args.split)) < len(args.split):
        parser.error(f'argument --split: {args.split[0]} is given twice')
    if args.fold and args.ids:
        parser.error('--fold and --ids exclude each other: --ids names the images of each split')
    return args


def fold_of(text: str) -> tuple[int, int]:
    """Parse ``K/N``, fold K of N, for argparse."""
    fold, _, folds = text.partition('/')
    if not (fold.isdecimal() and folds.isdecimal() and 2 <= int(folds) > int(fold)):
        raise argparse.ArgumentTypeError(f'{text!r} is not K/N with N >= 2 folds and K from 0 to N - 1, such as 0/5')
    return int(fold), int(folds)
