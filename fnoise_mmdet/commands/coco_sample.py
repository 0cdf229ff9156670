"""Draw a small, reproducible sample from COCO, or a fold of it: from a local folder, or over the network."""

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..datasets import CocoServer, fold_coco, read_ids, sample_coco
from ..datasets.files import check_free, check_writable
from ..engine.resume import locked
from .output import show_progress


@contextlib.contextmanager
def fetched_to(args: argparse.Namespace) -> Iterator[Path]:
    """Yield the locked cache folder for downloads, which is removed afterwards unless it was given."""
    cache = args.cache or Path(os.path.realpath(args.out)).with_name(f'.{args.out.name}.download')
    if not args.download:
        yield cache
        return
    check_writable(cache)
    with locked(cache):
        try:
            yield cache
            whole = True
        except BaseException:
            whole = not any(path.is_file() for path in cache.rglob('*') if path.name != '.lock')
            raise
        finally:
            if whole and not args.cache:
                shutil.rmtree(cache, ignore_errors=True)


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    ids = read_ids(args.ids) if args.ids else None
    check_free(args.out)
    with fetched_to(args) as cache:
        source = args.source
        if args.download:
            source = CocoServer(cache, args.url, args.year, args.retries, args.timeout, args.workers, show_progress)
        shared = dict(seed=args.seed, splits=args.split, progress=show_progress, supercategories=args.supercategories)
        if args.fold:
            counts = fold_coco(source, args.out, *args.fold, **shared)
        else:
            counts = sample_coco(source, args.out, args.num_train, args.num_val, args.num_test, ids=ids, **shared)
    print('wrote {} train, {} val and {} test images to {}'.format(*counts, args.out))
