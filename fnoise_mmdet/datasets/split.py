"""Splits of a data set into labelled and unlabelled images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .files import check_writable, read_json, require, write_json
from .sample import annotated_ids, draw_images, read_faultless, subset


def split_coco(
    ann_file: Path,
    out: Path,
    percent: float | None = None,
    number: int | None = None,
    fold: int = 1,
    ids: Sequence[int | str] | None = None,
) -> tuple[Path, Path]:
    """Divide the images of an annotation file into labelled and unlabelled ones.

    The labelled images are drawn without replacement among those with at least
    one non-crowd object (mmdet skips the others in training); its own
    ``tools/misc/split_coco.py`` draws with replacement, and so up to 5 % fewer.
    All others are unlabelled: their annotations stay in their file, as the
    hidden ground truth that the quality of pseudo-labels is measured against.
    All categories are kept in both. The files are named as by mmdet:
    ``NAME.FOLD@PERCENT.json`` and ``NAME.FOLD@PERCENT-unlabeled.json``.

    Args:
        ann_file: Annotation file in COCO's instance format.
        out: Folder of the two files.
        percent: Percentage of labelled images of all images of the file.
        number: Number of labelled images, instead of the percentage.
        fold: Seed of the draw, as in mmdet.
        ids: Ids of the labelled images, instead of a draw, such as those of a published fold.

    Returns:
        The files with the labelled and the unlabelled images.

    Raises:
        InputError: If the file is not in COCO format, no image would be labelled or
            unlabelled, an id is not in the file, or a file to be written exists.
        ValueError: If not exactly one of ``percent``, ``number`` and ``ids`` is given.
    """
    parts = prepare_split(ann_file, out, percent, number, fold, ids)
    write_split(parts)
    labelled, unlabelled = parts
    return labelled, unlabelled


def prepare_split(
    ann_file: Path,
    out: Path,
    percent: float | None = None,
    number: int | None = None,
    fold: int = 1,
    ids: Sequence[int | str] | None = None,
) -> dict[Path, dict[str, Any]]:
    """Return what :func:`split_coco` would write, by file, after its checks; it has the same arguments."""
    if sum(value is not None for value in (percent, number, ids)) != 1:
        raise ValueError('exactly one of percent, number and ids must be set')
    coco = read_faultless(ann_file)
    names = [image['id'] for image in coco['images']]
    if ids is None:
        count = number if number is not None else round(len(names) * (percent or 0) / 100)
        chosen = _draw(coco, ann_file, count, fold)
    else:
        chosen = set(ids)
        if missing := chosen - set(names):
            raise InputError(
                f'{len(missing)} of {len(chosen)} ids are not in {ann_file}, e.g. {min(map(str, missing))}'
            )
        if not 0 < len(chosen) < len(names):
            raise InputError(
                f'{len(chosen)} of the {len(names)} images of {ann_file} would be labelled, but at least one must be, '
                'and at least one must stay unlabelled'
            )
    suffix = f'{percent:g}' if percent is not None else f'{len(chosen)}_images'
    labelled, unlabelled = (out / f'{ann_file.stem}.{fold}@{suffix}{kind}.json' for kind in ('', '-unlabeled'))
    check_writable(out)
    for path in (labelled, unlabelled):
        if path.exists():
            raise InputError(f'{path} already exists and is not changed: use another folder with --out')
    return {
        labelled: subset(coco, [name for name in names if name in chosen]),
        unlabelled: subset(coco, [name for name in names if name not in chosen]),
    }


def write_split(parts: dict[Path, dict[str, Any]]) -> None:
    """Write what :func:`prepare_split` has returned, the unlabelled images first."""
    for path, coco in reversed(parts.items()):
        write_json(path, coco)


def _draw(coco: dict[str, Any], ann_file: Path, count: int, fold: int) -> set[int | str]:
    annotated = len(annotated_ids(coco))
    if not 0 < count < len(coco['images']) or count > annotated:
        raise InputError(
            f'{count} labelled images were requested, but must be at least 1 and leave at least one image unlabelled, '
            f'and {ann_file} has {len(coco["images"])} images, {annotated} of them with a non-crowd object'
        )
    return set(draw_images(coco, ann_file, dict(labelled=count), np.random.default_rng(fold))['labelled'])


def read_labelled_ids(path: Path) -> list[int | str]:
    """Read the ids of labelled images: a JSON list, or the images of an annotation file.

    Raises:
        InputError: If it is neither.
    """

    def parse(content: Any) -> list[int | str]:
        found = [image['id'] for image in content['images']] if isinstance(content, dict) else list(content)
        require(all(type(one) in (int, str) for one in found), 'an id must be a number or a string')
        return found

    return read_json(path, 'is neither a JSON list of image ids nor an annotation file', parse)
