"""Divide the training images of a data set into labelled and unlabelled ones."""

import argparse
from typing import Any

from ..datasets.split import prepare_split, read_labelled_ids, write_split


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
    prepared = [prepare_split(args.ann_file, out, fold=fold, **choice) for choice in choices for fold in args.fold]
    for parts in prepared:
        write_split(parts)
        for path in parts:
            print(f'wrote {path}')
