"""Write the embedded data set of shapes in COCO format."""

import argparse

from ..datasets import make_shapes
from .output import show_progress


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    counts = args.num_train, args.num_val, args.num_test
    make_shapes(args.out, *counts, args.size, args.seed, args.style, show_progress)
    print(f'wrote {args.num_train} train, {args.num_val} val and {args.num_test} test images to {args.out}')
