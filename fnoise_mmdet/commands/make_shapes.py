"""Write the embedded data set of shapes in COCO format."""

import argparse

from ..datasets import make_shapes
from .output import show_progress


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    make_shapes(args.out, args.num_train, args.num_val, args.num_test, args.size, args.seed, show_progress)
    print(f'wrote {args.num_train} train, {args.num_val} val and {args.num_test} test images to {args.out}')
