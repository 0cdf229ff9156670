"""Save the weights of a checkpoint alone, also of the teacher or the student of a semi-supervised training."""

import argparse
import io

import torch

from ..datasets.files import check_writable, write_atomically
from ..engine.checkpoint import load_checkpoint, published
from ..errors import InputError


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.out_file.exists():
        raise InputError(f'{args.out_file} already exists and is not changed: use another name')
    check_writable(args.out_file.parent)
    content = io.BytesIO()
    torch.save(published(load_checkpoint(args.in_file), args.in_file, args.part), content)
    args.out_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out_file, content.getvalue())
    print(f'wrote {args.out_file}, {len(content.getvalue()) / 1e6:.1f} MB')
