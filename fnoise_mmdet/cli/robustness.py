"""Evaluate checkpoints on corrupted images and other domains, and under perturbations of the features."""

import argparse
import math
import re
from pathlib import Path
from typing import Any

from ..choices import ANALOG, ANALOG_SCALES, CORRUPTIONS, FORMATS, PRESETS, SEVERITIES
from . import options
from .parser import ArgumentParser


class DomainAction(argparse.Action):
    """Collect NAME=FOLDER pairs in a dict of paths."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        domains = dict(getattr(namespace, self.dest))
        for text in values:
            name, found, folder = text.partition('=')
            if not found or not folder or not re.fullmatch(r'[\w.-]+', name):
                parser.error(f'{option} {text} is not of the form NAME=FOLDER, with a name of letters, digits and ._-')
            if name in domains:
                parser.error(f'{option}: two domains are called {name}')
            if not Path(folder).is_dir():
                parser.error(f'{option} {name}: {folder} is not a folder')
            domains[name] = Path(folder)
        setattr(namespace, self.dest, domains)


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Evaluate checkpoints on corrupted images, and with feature noise in the forward pass. Prints AP, '
        'the mean performance under corruption (mPC) and its ratio to the AP on clean images (rPC). Results are '
        'written to RUN/robustness/robustness.json after each evaluation, with the detections next to it; an '
        'interrupted call can be resumed. Corruptions and noise of an image are the same for every checkpoint.',
        examples=[
            'work_dirs/demo --severities 1 3 5',
            'work_dirs/demo --corruptions none --noise-scales --domain dark=data/shapes_dark/val',
        ],
    )
    parser.add_argument(
        'runs',
        nargs='*',
        type=Path,
        metavar='RUN',
        help='work dir of a training, or a folder with such work dirs at any depth; the last checkpoint is evaluated',
    )
    parser.add_argument('--config', help='config of a checkpoint without a work dir, with --checkpoint and --out')
    parser.add_argument('--checkpoint', type=Path, help='checkpoint file, with --config and --out')
    parser.add_argument('--out', type=Path, help='output folder instead of the work dir')
    parser.add_argument(
        '--corruptions',
        nargs='+',
        default=list(CORRUPTIONS),
        metavar='NAME',
        help='corruptions or groups of corruptions, or none; default: all 15: '
        + '; '.join(f'{group}: {", ".join(names)}' for group, names in CORRUPTIONS.items()),
    )
    parser.add_argument(
        '--severities',
        nargs='+',
        type=int,
        default=list(SEVERITIES),
        choices=SEVERITIES,
        metavar='SEVERITY',
        help='severities of the corruptions, from 1 to 5 (default: all five)',
    )
    parser.add_argument(
        '--noise-scales',
        nargs='*',
        type=scale,
        default=[0.1, 0.2, 0.3, 0.5, 1.0],
        metavar='SCALE',
        help='scales of the feature noise; without a value: no feature noise',
    )
    parser.add_argument(
        '--noise-preset',
        default='cct',
        choices=PRESETS,
        metavar='PRESET',
        help='feature noise, on every level before the neck or at its published place, independent of the noise in '
        f'training; default: cct (F-Noise); others: {", ".join(PRESETS[1:])}',
    )
    parser.add_argument(
        '--deployment',
        action='store_true',
        help='evaluate also with features as on the hardware of a deployment, on every level before the neck: '
        f'rounded to a number format ({", ".join(FORMATS)}), and with Gaussian noise of analog hardware '
        f'({", ".join(ANALOG)}; scales {", ".join(map(str, ANALOG_SCALES))})',
    )
    parser.add_argument(
        '--domain',
        nargs='+',
        action=DomainAction,
        default={},
        metavar='NAME=FOLDER',
        help='evaluate also on the same images in another domain, such as fog or another style, from a folder with '
        'files of the same names; the annotations are those of the data set',
    )
    parser.add_argument('--part', choices=['val', 'test'], default='val', help='split to evaluate')
    parser.add_argument('--data-root', help='folder in COCO layout that replaces the data root of the configs')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=options.PairsAction,
        help='override settings of every config, as key=value pairs',
    )
    parser.add_argument('--seed', type=options.seed, default=0, help='seed of corruptions and feature noise')
    parser.add_argument('--images', type=options.at_least(1), help='evaluate only the first images')
    parser.add_argument('--force', action='store_true', help='discard existing results')
    options.add_trust_option(parser)
    args = parser.parse_args()
    single = [args.config, args.checkpoint, args.out]
    if any(single) == bool(args.runs) or (any(single) and not all(single)):
        parser.error('pass either RUN, or all of --config, --checkpoint and --out')
    return args


def scale(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'must be >= 0 and finite, but got {text}')
    return value
