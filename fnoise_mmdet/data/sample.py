"""Drawing a small, reproducible sample from a data set in COCO format."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .coco import check_images, find_split, read_coco
from .download import CocoServer
from .files import check_free, staged_folder, write_json
from .validate import annotation_findings


def _annotated_ids(coco: dict[str, Any]) -> list[int | str]:
    """Give the ids of the images with at least one object that is not a crowd, in order."""
    ids = {ann['image_id'] for ann in coco['annotations'] if not ann.get('iscrowd', 0)}
    return _in_order(ids)


def _in_order(ids: Iterable[int | str]) -> list[int | str]:
    """Sort ids, which may be numbers and texts."""
    return sorted(ids, key=lambda one: (isinstance(one, str), one))


def _subset(coco: dict[str, Any], ids: list[int | str]) -> dict[str, Any]:
    """Keep the images of ``ids`` with their annotations, and all else as it is."""
    chosen = set(ids)
    return coco | dict(
        images=[image for image in coco['images'] if image['id'] in chosen],
        annotations=[ann for ann in coco['annotations'] if ann['image_id'] in chosen],
    )


class LocalCoco:
    """A data set in COCO layout on disk.

    Args:
        root: Its folder, see :func:`~fnoise_mmdet.data.find_split`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def annotations(self, split: str) -> Path:
        """Find the annotations of a part."""
        return self.root / find_split(self.root, split).ann_file

    def images(self, split: str, images: list[dict[str, Any]]) -> Path:
        """Find the folder of a part's images, and see that these are there."""
        folder = self.root / find_split(self.root, split).image_folder
        check_images(dict(images=images), folder)
        return folder


def sample_coco(
    source: Path | LocalCoco | CocoServer,
    out: Path,
    num_train: int,
    num_val: int,
    num_test: int,
    seed: int = 0,
    splits: Sequence[str] = ('train', 'val'),
    progress: Callable[..., Iterable[Any]] = lambda items, *_: items,
) -> None:
    """Draw training images from the source's train part, and val and test images from its val part.

    Images are drawn without replacement, so no image is in two parts, and
    from those with at least one object that is not a crowd, because mmdet
    leaves the others out of training. All categories are kept, so labels mean
    the same as in the source. Drawn ids are saved in ``sample.json``.

    Args:
        source: Folder in COCO layout, see :func:`~fnoise_mmdet.data.find_split`, or a server of COCO.
        out: Folder to make. It appears whole or not at all.
        num_train: Number of training images. So ``num_val`` and ``num_test``.
        seed: Seed of the draw. The same seed and source give the same sample.
        splits: Parts of the source to draw from. Where it is one alone, all images are drawn from it.
        progress: Wraps the loop over a part's images, with a label to show.

    Raises:
        InputError: The source has too few images or lacks files, or ``out``
            exists already.
        ValueError: A number is negative.
    """
    counts = dict(train=num_train, val=num_val, test=num_test)
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f'num_{split} must be >= 0, but got {count}')
    check_free(out)
    if isinstance(source, Path):
        source = LocalCoco(source)
    origins = dict(train=['train'], val=['val', 'test']) if len(splits) > 1 else {splits[0]: list(counts)}
    rng = np.random.default_rng(seed)
    parts: dict[str, tuple[dict[str, Any], Path]] = {}  # part -> annotations, folder of its images
    ids: dict[str, list[int | str]] = {}
    for origin, names in origins.items():
        wanted = sum(counts[name] for name in names)
        if not wanted:
            continue
        ann_file = source.annotations(origin)
        coco = read_coco(ann_file)
        errors, _ = annotation_findings(coco)
        if errors:
            raise InputError('\n- '.join([f'annotation file {ann_file} is faulty', *errors]))
        population = _annotated_ids(coco)
        if wanted > len(population):
            raise InputError(
                f'{wanted} images were asked for ({" + ".join(names)}), but {ann_file} '
                f'has {len(population)} with an object that is not a crowd'
            )
        drawn = [population[i] for i in rng.permutation(len(population))[:wanted]]
        images = source.images(origin, _subset(coco, drawn)['images'])
        for name in names:
            ids[name], drawn = _in_order(drawn[: counts[name]]), drawn[counts[name] :]
            parts[name] = _subset(coco, ids[name]), images

    with staged_folder(out) as folder:
        for name, (coco, images) in parts.items():
            if not coco['images']:
                continue
            for image in progress(coco['images'], f'{name} images'):
                target = folder / name / image['file_name']
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(images / image['file_name'], target)
            write_json(folder / 'annotations' / f'instances_{name}.json', coco)
        write_json(folder / 'sample.json', dict(seed=seed, ids=ids))
