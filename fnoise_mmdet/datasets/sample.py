"""Small, reproducible samples and folds of a data set in COCO format."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..cli.parser import command_for
from ..errors import InputError
from .coco import check_images, find_split, read_coco
from .download import CocoServer
from .files import check_free, read_json, require, staged_folder, write_json
from .validate import Use, annotation_findings

T = TypeVar('T')
PARTS = ('train', 'val', 'test')
Piece = tuple[dict[str, Any], Path]
"""Annotations of images, and the folder with the images."""


def annotated_ids(coco: dict[str, Any]) -> list[int | str]:
    """Return the sorted ids of the images with at least one non-crowd object."""
    ids = {ann['image_id'] for ann in coco['annotations'] if not ann.get('iscrowd', 0)}
    return _in_order(ids)


def _in_order(ids: Iterable[int | str]) -> list[int | str]:
    """Sort ids, which may be numbers and strings."""
    return sorted(ids, key=lambda one: (isinstance(one, str), one))


def subset(coco: dict[str, Any], ids: list[int | str]) -> dict[str, Any]:
    """Return annotations with only the images of ``ids``."""
    chosen = set(ids)
    return coco | dict(
        images=[image for image in coco['images'] if image['id'] in chosen],
        annotations=[ann for ann in coco['annotations'] if ann['image_id'] in chosen],
    )


class LocalCoco:
    """A data set in COCO layout on disk.

    Args:
        root: Folder of the data set, see :func:`~fnoise_mmdet.datasets.find_split`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def annotations(self, split: str, read: Callable[[Path], T]) -> tuple[Path, T]:
        """Find and read the annotations of a split."""
        path = self.root / find_split(self.root, split).ann_file
        return path, read(path)

    def images(self, split: str, images: list[dict[str, Any]]) -> Path:
        """Find the image folder of a split, and check that the images exist."""
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
    supercategories: bool = False,
) -> tuple[int, ...]:
    """Draw training images from the train split of the source, and val and test images from its val split.

    Images are drawn without replacement among those with at least one
    non-crowd object, because mmdet skips the others in training. No image is
    in two splits. All categories are kept, so labels are the same as in the
    source. The drawn ids are saved in ``sample.json``.

    Args:
        source: Folder in COCO layout, see :func:`~fnoise_mmdet.datasets.find_split`, or a COCO server.
        out: Folder to create, atomically.
        num_train: Number of training images; ``num_val`` and ``num_test`` likewise.
        seed: Seed of the draw. The same seed and source give the same sample.
        splits: Splits of the source to draw from. If there is only one, all images are drawn from it.
        progress: Wraps the loop over the images of a split, given a label.
        ids: Ids of the images per split, see :func:`read_ids`, which replace the draw.
        supercategories: Whether objects are annotated with their supercategory instead of their category.

    Returns:
        The numbers of train, val and test images.

    Raises:
        InputError: If the source has too few images, no image is requested, an
            image is named twice, image files are missing, or ``out`` already exists.
        ValueError: If a number is negative.
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
    if not any(counts.values()):
        raise InputError('no image is requested: at least one split of the sample must have images')
    origins = dict(train=['train'], val=['val', 'test']) if len(set(splits)) > 1 else {splits[0]: list(counts)}
    if ids is not None:
        _check_disjoint(ids, origins)
    read = _read_supercategories if supercategories else read_faultless
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Piece]] = {}
    taken: dict[str, list[int | str]] = {}
    for origin, names in origins.items():
        of_origin = {name: counts[name] for name in names}
        if not any(of_origin.values()):
            continue
        ann_file, coco = source.annotations(origin, read)
        if ids is None:
            found = draw_images(coco, ann_file, of_origin, rng)
        else:
            found = {name: _in_order(ids.get(name, ())) for name in names}
            _check_there(coco, ann_file, found)
        together = [one for of_part in found.values() for one in of_part]
        images = source.images(origin, subset(coco, together)['images'])
        taken |= found
        parts |= {name: [(subset(coco, of_part), images)] for name, of_part in found.items()}
    _write(out, parts, dict(seed=seed if ids is None else None, ids=taken), progress)
    return tuple(counts.values())


def fold_coco(
    source: Path | LocalCoco | CocoServer,
    out: Path,
    fold: int,
    folds: int,
    seed: int = 0,
    splits: Sequence[str] = ('train', 'val'),
    progress: Callable[..., Iterable[Any]] = lambda items, *_: items,
    supercategories: bool = False,
) -> tuple[int, ...]:
    """Take one fold of a cross-validation over all images of the source: the fold is val, all other images are train.

    The images of all splits with at least one non-crowd object are shuffled
    and divided into folds of equal size, up to one image. Each image is in val
    of exactly one fold. The ids are saved in ``sample.json``.

    Args:
        source: As for :func:`sample_coco`, like the arguments that are not listed.
        out: Folder to create, atomically.
        fold: Number of the fold, from 0.
        folds: Number of folds, at least 2.
        seed: Seed of the shuffling, the same for all folds of a cross-validation.
        splits: Splits of the source whose images are taken.

    Returns:
        The numbers of train, val and test images, of which there are no test images.

    Raises:
        InputError: If there are fewer images than folds, the splits share image
            ids or have different categories, image files are missing, or ``out`` already exists.
        ValueError: If there is no such fold.
    """
    if not 0 <= fold < folds or folds < 2:
        raise ValueError(f'fold must be one of 0 to {folds - 1} of at least 2 folds, but got {fold} of {folds}')
    check_free(out)
    if isinstance(source, Path):
        source = LocalCoco(source)
    read = _read_supercategories if supercategories else read_faultless
    cocos = {split: source.annotations(split, read)[1] for split in splits}
    _check_joinable(cocos)
    population = [(split, one) for split, coco in cocos.items() for one in annotated_ids(coco)]
    if len(population) < folds:
        raise InputError(f'{folds} folds need as many images, but only {len(population)} have a non-crowd object')
    order = np.random.default_rng(seed).permutation(len(population))
    held_out = {population[index] for index in order[fold::folds]}
    parts: dict[str, list[Piece]] = dict(train=[], val=[])
    for split, coco in cocos.items():
        images = source.images(split, subset(coco, [one for where, one in population if where == split])['images'])
        for name, pieces in parts.items():
            chosen = [
                one for where, one in population if where == split and ((where, one) in held_out) == (name == 'val')
            ]
            pieces.append((subset(coco, chosen), images))
    ids = {name: [image['id'] for coco, _ in pieces for image in coco['images']] for name, pieces in parts.items()}
    _write(out, parts, dict(seed=seed, fold=fold, folds=folds, ids=ids), progress)
    return len(ids['train']), len(ids['val']), 0


def _check_joinable(cocos: Mapping[str, dict[str, Any]]) -> None:
    """Check that splits have the same categories, and images of different ids and file names."""
    (first, coco), *others = cocos.items()
    for split, other in others:
        if other['categories'] != coco['categories']:
            raise InputError(f'{first} and {split} have different categories: name one of them with --split')
        for key in ('id', 'file_name'):
            if shared := {image[key] for image in coco['images']} & {image[key] for image in other['images']}:
                raise InputError(
                    f'{first} and {split} share {len(shared)} images by {key}, e.g. {_in_order(shared)[0]}: '
                    'name one of them with --split'
                )


def _join(cocos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join annotations of different images, whose annotation ids may coincide."""
    if len(cocos) == 1:
        return cocos[0]
    images, annotations = ([one for coco in cocos for one in coco[key]] for key in ('images', 'annotations'))
    numbered = [ann | dict(id=number) for number, ann in enumerate(annotations, start=1)]
    return cocos[0] | dict(images=images, annotations=numbered)


def _write(
    out: Path, parts: Mapping[str, Sequence[Piece]], record: dict[str, Any], progress: Callable[..., Iterable[Any]]
) -> None:
    """Write the images and annotations of each split, and ``sample.json``."""
    with staged_folder(out) as folder:
        for name, pieces in parts.items():
            joined = _join([coco for coco, _ in pieces])
            if not joined['images']:
                continue
            files = [(images, image['file_name']) for coco, images in pieces for image in coco['images']]
            for images, file in progress(files, f'{name} images'):
                target = folder / name / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(images / file, target)
            write_json(folder / 'annotations' / f'instances_{name}.json', joined)
        write_json(folder / 'sample.json', record)


def read_ids(path: Path) -> dict[str, list[int | str]]:
    """Read the image ids of a sample per split from its ``sample.json``.

    Raises:
        InputError: If it is another file.
    """

    def parse(content: Any) -> dict[str, list[int | str]]:
        ids = content['ids']
        require(
            all(type(one) in (int, str) for of_part in ids.values() for one in of_part),
            'an id must be a number or a string',
        )
        require(ids.keys() <= set(PARTS), f'its splits are {", ".join(ids)}, but must be among {", ".join(PARTS)}')
        return {name: list(of_part) for name, of_part in ids.items()}

    return read_json(path, f'is not the sample.json of a sample by {command_for("coco_sample")}', parse)


def read_faultless(ann_file: Path) -> dict[str, Any]:
    """Read annotations to be divided, and check them without the checks specific to masks and metrics.

    Raises:
        InputError: If the file is not in COCO format, or a check finds an error.
    """
    coco = read_coco(ann_file)
    errors, _ = annotation_findings(coco, Use(masks=False, metrics=()))
    if errors:
        raise InputError('\n- '.join([f'annotation file {ann_file} is invalid', *errors]))
    return coco


def _read_supercategories(ann_file: Path) -> dict[str, Any]:
    """Read annotations, with supercategories as categories, numbered from 1 in the order of the file."""
    coco = read_faultless(ann_file)
    without = [
        one['name']
        for one in coco['categories']
        if not one.get('supercategory') or not isinstance(one['supercategory'], str)
    ]
    if without:
        raise InputError(f'annotation file {ann_file}: category {without[0]!r} has no supercategory')
    names = list(dict.fromkeys(category['supercategory'] for category in coco['categories']))
    number = {name: index for index, name in enumerate(names, start=1)}
    numbers = {category['id']: number[category['supercategory']] for category in coco['categories']}
    return coco | dict(
        categories=[dict(id=index, name=name, supercategory=name) for name, index in number.items()],
        annotations=[ann | dict(category_id=numbers[ann['category_id']]) for ann in coco['annotations']],
    )


def draw_images(
    coco: dict[str, Any], ann_file: Path, counts: Mapping[str, int], rng: np.random.Generator
) -> dict[str, list[int | str]]:
    """Draw disjoint sets of images, one per split.

    Raises:
        InputError: If there are too few with a non-crowd object.
    """
    population = annotated_ids(coco)
    wanted = sum(counts.values())
    if wanted > len(population):
        raise InputError(
            f'{wanted} images were requested ({" + ".join(counts)}), but {ann_file} '
            f'has {len(population)} with a non-crowd object'
        )
    drawn = [population[i] for i in rng.permutation(len(population))[:wanted]]
    found = {}
    for name, count in counts.items():
        found[name], drawn = _in_order(drawn[:count]), drawn[count:]
    return found


def _check_disjoint(ids: Mapping[str, Sequence[int | str]], origins: Mapping[str, Sequence[str]]) -> None:
    """Check that no image of the source is taken twice."""
    for origin, names in origins.items():
        counts = Counter(one for name in names for one in ids.get(name, ()))
        if twice := [one for one, count in counts.items() if count > 1]:
            raise InputError(
                f'image {twice[0]} of {origin} is named more than once in the ids of {", ".join(names)}: name it once'
            )


def _check_there(coco: dict[str, Any], ann_file: Path, ids: Mapping[str, Sequence[int | str]]) -> None:
    there = {image['id'] for image in coco['images']}
    for name, of_part in ids.items():
        if missing := [one for one in of_part if one not in there]:
            raise InputError(
                f'{len(missing)} of {len(of_part)} {name} images are not in {ann_file}, e.g. image {missing[0]}: '
                'pass the data set from which they were drawn, and its splits with --split'
            )
