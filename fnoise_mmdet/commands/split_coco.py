"""Divide the training images of a data set into labelled and unlabelled ones."""

import argparse
from typing import Any

from ..datasets.split import read_labelled_ids, split_coco


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    out = args.out or args.ann_file.parent
    choices: list[dict[str, Any]]
    if args.ids:
        choices = [dict(ids=read_labelled_ids(args.ids))]
    elif args.percent:
        choices = [dict(percent=percent) for percent in args.percent]
    else:
        choices = [dict(number=number) for number in args.number]
    for choice in choices:
        for fold in args.fold:
            for path in split_coco(args.ann_file, out, fold=fold, **choice):
                print(f'wrote {path}')
