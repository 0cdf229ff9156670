"""Drawing a small, reproducible sample from a data set in COCO format."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from .coco import check_images, find_split, read_coco
from .download import CocoServer
from .files import check_free, staged_folder, write_json
from .validate import Use, annotation_findings

T = TypeVar('T')
PARTS = ('train', 'val', 'test')


def _annotated_ids(coco: dict[str, Any]) -> list[int | str]:
    """Return the ids of the images with at least one object that is not a crowd, in order."""
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
        root: Its folder, see :func:`~fnoise_mmdet.datasets.find_split`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def annotations(self, split: str, read: Callable[[Path], T]) -> tuple[Path, T]:
        """Find the annotations of a part, and read them."""
        path = self.root / find_split(self.root, split).ann_file
        return path, read(path)

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
    ids: Mapping[str, Sequence[int | str]] | None = None,
) -> tuple[int, ...]:
    """Draw training images from the source's train part, and val and test images from its val part.

    Images are drawn without replacement, so no image is in two parts, and
    from those with at least one object that is not a crowd, because mmdet
    leaves the others out of training. All categories are kept, so labels mean
    the same as in the source. Drawn ids are saved in ``sample.json``.

    Args:
        source: Folder in COCO layout, see :func:`~fnoise_mmdet.datasets.find_split`, or a server of COCO.
        out: Folder to make. It appears whole or not at all.
        num_train: Number of training images. So ``num_val`` and ``num_test``.
        seed: Seed of the draw. The same seed and source give the same sample.
        splits: Parts of the source to draw from. Where it is one alone, all images are drawn from it.
        progress: Wraps the loop over a part's images, with a label to show.
        ids: The images of train, val and test, as :func:`read_ids` gives them, to be taken instead of a draw.

    Returns:
        The numbers of train, val and test images.

    Raises:
        InputError: The source has too few images, or lacks some, or files of
            them, or ``out`` exists already.
        ValueError: A number is negative.
    """
    counts = dict(zip(PARTS, (num_train, num_val, num_test)))
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f'num_{split} must be >= 0, but got {count}')
    check_free(out)
    if isinstance(source, Path):
        source = LocalCoco(source)
    if ids is not None:
        counts = {name: len(ids.get(name, ())) for name in counts}
    origins = dict(train=['train'], val=['val', 'test']) if len(splits) > 1 else {splits[0]: list(counts)}
    rng = np.random.default_rng(seed)
    parts: dict[str, tuple[dict[str, Any], Path]] = {}  # part -> annotations, folder of its images
    taken: dict[str, list[int | str]] = {}
    for origin, names in origins.items():
        of_origin = {name: counts[name] for name in names}
        if not any(of_origin.values()):
            continue
        ann_file, coco = source.annotations(origin, _read_faultless)
        if ids is None:
            found = _draw(coco, ann_file, of_origin, rng)
        else:
            found = {name: _in_order(ids.get(name, ())) for name in names}
            _check_there(coco, ann_file, found)
        together = [one for of_part in found.values() for one in of_part]
        images = source.images(origin, _subset(coco, together)['images'])
        taken |= found
        parts |= {name: (_subset(coco, of_part), images) for name, of_part in found.items()}

    with staged_folder(out) as folder:
        for name, (coco, images) in parts.items():
            if not coco['images']:
                continue
            for image in progress(coco['images'], f'{name} images'):
                target = folder / name / image['file_name']
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(images / image['file_name'], target)
            write_json(folder / 'annotations' / f'instances_{name}.json', coco)
        write_json(folder / 'sample.json', dict(seed=seed if ids is None else None, ids=taken))
    return tuple(counts.values())


def read_ids(path: Path) -> dict[str, list[int | str]]:
    """Read which images a sample has, by part, from its ``sample.json``.

    Raises:
        InputError: It is another file.
    """
    try:
        ids = json.loads(path.read_text(encoding='utf-8'))['ids']
        if not all(isinstance(one, int | str) for of_part in ids.values() for one in of_part):
            raise TypeError('an id must be a number or a text')
        if not ids.keys() <= set(PARTS):
            raise ValueError(f'its parts are {", ".join(ids)}, not of {", ".join(PARTS)}')
        return {name: list(of_part) for name, of_part in ids.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f'{path} is not the sample.json of a sample by tools/coco_sample.py: {type(error).__name__}: {error}'
        ) from None


def _read_faultless(ann_file: Path) -> dict[str, Any]:
    coco = read_coco(ann_file)
    errors, _ = annotation_findings(coco, Use(masks=False, metrics=()))  # what needs more is checked where it runs
    if errors:
        raise InputError('\n- '.join([f'annotation file {ann_file} is faulty', *errors]))
    return coco


def _draw(
    coco: dict[str, Any], ann_file: Path, counts: Mapping[str, int], rng: np.random.Generator
) -> dict[str, list[int | str]]:
    """Draw so many images for each part, none for two of them."""
    population = _annotated_ids(coco)
    wanted = sum(counts.values())
    if wanted > len(population):
        raise InputError(
            f'{wanted} images were asked for ({" + ".join(counts)}), but {ann_file} '
            f'has {len(population)} with an object that is not a crowd'
        )
    drawn = [population[i] for i in rng.permutation(len(population))[:wanted]]
    found = {}
    for name, count in counts.items():
        found[name], drawn = _in_order(drawn[:count]), drawn[count:]
    return found


def _check_there(coco: dict[str, Any], ann_file: Path, ids: Mapping[str, Sequence[int | str]]) -> None:
    there = {image['id'] for image in coco['images']}
    for name, of_part in ids.items():
        if missing := [one for one in of_part if one not in there]:
            raise InputError(
                f'{len(missing)} of {len(of_part)} {name} images are not in {ann_file}, e.g. image {missing[0]}: '
                'name the data set that they were drawn from, and with --split its parts'
            )
