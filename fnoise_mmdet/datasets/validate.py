"""Validation of annotations in COCO format."""

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from numbers import Real
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from .ground_truth import is_polygon

# Tolerance in pixels for boxes beyond the image border; COCO rounds to hundredths of a pixel.
MARGIN = 1.0
# Limit of coordinates and outline lengths in pixels: pycocotools samples outlines at 1/5 pixel, and aborts the process
# if memory runs out.
MAX_EXTENT = 10**7
MAX_PIXELS = 2**31 - 1  # per image: pycocotools counts in 32 bits

_PLAIN_NAME = re.compile(r'[\w-][\w.-]*(/[\w-][\w.-]*)*', re.ASCII)


class Use(NamedTuple):
    """Intended use of annotations, by default all uses.

    ``masks``: whether the pipeline of the data set loads masks; ``metrics``:
    the types of COCO's evaluation, ``'bbox'`` and ``'segm'``; ``classes``:
    names of the classes, None for all.
    """

    masks: bool = True
    metrics: Collection[str] = ('bbox', 'segm')
    classes: Collection[str] | None = None


def annotation_findings(coco: dict[str, Any], use: Use = Use()) -> tuple[list[str], list[str]]:  # noqa: B008
    """Return the problems of annotations, one sentence per kind with its first example.

    Ids must be unique and references valid, sizes positive, file names inside
    the image folder, boxes and areas finite. If masks are used, each object
    needs polygons of at least three corners or a valid run-length encoding.
    Entries that mmdet skips while loading are not checked further.

    Args:
        coco: Content of an annotation file, see :func:`~fnoise_mmdet.datasets.read_coco`.
        use: Intended use. Defaults to all uses.

    Returns:
        Errors, and harmless oddities.
    """
    found = _Findings()
    if not coco['images']:
        found.add('images are in the file', 'there must be at least one', count=0)
    _check_ids(coco, use, found)
    for image in coco['images']:
        _check_image(image, found)
    for category in coco['categories']:
        if not isinstance(category['name'], str) or not category['name']:
            found.add('categories have no name', f'category {category["id"]!r}: {category["name"]!r}')
    for name, count in Counter(str(category['name']) for category in coco['categories']).items():
        if count > 1:
            found.add('names of categories are used more than once', f'{name!r}, {count} times')

    images = {image['id']: image for image in coco['images'] if _is_id(image['id'])}
    categories = {category['id']: category['name'] for category in coco['categories'] if _is_id(category['id'])}
    for index, annotation in enumerate(coco['annotations']):
        where = f'annotation {annotation.get("id", f"number {index}")!r}'
        category, image_id = annotation['category_id'], annotation['image_id']
        if not _is_id(category) or category not in categories:
            found.add('annotations have an unknown category', f'{where}: {category!r}')
            category = None
        image = images.get(image_id) if _is_id(image_id) else None
        if image is None:
            found.add('annotations have an unknown image', f'{where}: {image_id!r}')
        is_used = use.classes is None or categories.get(category) in use.classes
        for problem, example, *harmless in _annotation_problems(annotation, image, is_used, use):
            found.add(problem, f'{where}: {example}' if example else where, bool(harmless))
    return found.sentences(harmless=False), found.sentences(harmless=True)


def count_objects(coco: dict[str, Any], classes: Collection[str] | None = None) -> int:
    """Return the number of annotated objects of the classes that are trained and evaluated, without crowds.

    Args:
        coco: Annotations without errors, see :func:`annotation_findings`.
        classes: Names of the classes. Defaults to None, which is all.
    """
    images = {image['id']: image for image in coco['images']}
    ids = {category['id'] for category in coco['categories'] if classes is None or category['name'] in classes}
    return sum(
        annotation['category_id'] in ids
        and not annotation.get('iscrowd')
        and annotation['image_id'] in images
        and _is_loaded(annotation, annotation['bbox'], annotation['area'], images[annotation['image_id']])
        for annotation in coco['annotations']
    )


def is_inside(name: Any) -> bool:
    """Return whether a relative file name is valid and stays inside its folder, on every operating system."""
    if not isinstance(name, str) or not name or '\0' in name:
        return False
    if len(name) < 256 and _PLAIN_NAME.fullmatch(name):  # fast path for nearly all names
        return True
    paths = PurePosixPath(name), PureWindowsPath(name)
    if not paths[0].name or name.endswith(('/', '\\')):  # a folder
        return False
    try:
        if any(len(os.fsencode(part)) > 255 for part in paths[0].parts):  # too long for file systems
            return False
    except UnicodeEncodeError:  # a lone surrogate, which JSON allows
        return False
    return not any(path.is_absolute() or path.drive or path.root or '..' in path.parts for path in paths)


class _Findings:
    """Findings by kind, with the number and the first example."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[bool, str]] = Counter()
        self._first: dict[tuple[bool, str], str] = {}

    def add(self, problem: str, example: str, harmless: bool = False, count: int = 1) -> None:
        self._counts[harmless, problem] += count
        self._first.setdefault((harmless, problem), example[:200])

    def sentences(self, harmless: bool) -> list[str]:
        return [
            f'{count} {problem}, the first one: {self._first[key]}' if count else f'no {problem}: {self._first[key]}'
            for key, count in self._counts.items()
            for is_harmless, problem in [key]
            if is_harmless == harmless
        ]


def _check_ids(coco: dict[str, Any], use: Use, found: _Findings) -> None:
    for name in ('images', 'annotations', 'categories'):
        if name == 'annotations':
            for index, annotation in enumerate(coco[name]):
                if 'id' not in annotation:
                    found.add("annotations have no 'id'", f'annotation number {index}')
        ids = [record['id'] for record in coco[name] if 'id' in record]
        for index, one in enumerate(ids):
            if not _is_id(one):
                found.add(f'{name} have an id that is neither a number nor a string', f'{name}[{index}]: {one!r}')
        counts = Counter(one for one in ids if isinstance(one, Hashable))
        for one, count in counts.items():
            if count > 1:
                found.add(f'ids of {name} are used more than once', f'{one!r}, {count} times')
        ids = [one for one in ids if _is_id(one)]
        if not use.metrics:
            continue
        if name == 'annotations':
            for one in ids:
                if not one or isinstance(one, str):
                    found.add(
                        'ids of annotations are 0 or strings, which COCO\'s evaluation takes for "unmatched" or fails '
                        'on: they are renumbered from 1 for the evaluation',
                        repr(one),
                        harmless=True,
                    )
        else:
            for one in _lost_ids(ids):
                found.add(
                    f"ids of {name} cannot be distinguished by COCO's evaluation: they must be all strings or all "
                    '64-bit integers',
                    repr(one),
                )


def _lost_ids(ids: Sequence[Any]) -> list[Any]:
    """Return the ids that are changed by ``numpy.unique``, which COCO's evaluation applies."""
    try:
        kept = set(np.unique(ids).tolist())
    except (TypeError, OverflowError):
        return list(ids)
    return [one for one in ids if one not in kept]


def _check_image(image: dict[str, Any], found: _Findings) -> None:
    where = f'image {image["id"]!r}'
    width, height = image['width'], image['height']
    if not is_inside(image['file_name']):
        found.add('images have a file name that is invalid or outside their folder', f'{where}: {image["file_name"]!r}')
    if not all(_is_number(side) and side > 0 for side in (width, height)):
        found.add('images do not have a size above 0', f'{where}: {width!r} x {height!r}')
    elif width != int(width) or height != int(height):
        found.add('images have a size that is not an integer', f'{where}: {width!r} x {height!r}')
    elif width * height > MAX_PIXELS:
        found.add(f'images have more than {MAX_PIXELS} pixels', f'{where}: {width!r} x {height!r}')


def _annotation_problems(
    annotation: dict[str, Any], image: dict[str, Any] | None, is_used: bool, use: Use
) -> Iterator[tuple[Any, ...]]:
    """Yield the problems of an annotation: the problem, an example, and True if harmless."""
    box: Any = annotation['bbox']
    area: Any = annotation.get('area')
    crowd = annotation.get('iscrowd')
    if 'area' not in annotation:
        yield "annotations have no 'area'", ''
    elif not _is_number(area):
        yield 'annotations have an area that is not a finite number', repr(area)
    elif area <= 0:
        yield 'annotations have no area above 0: training skips them', repr(area), True
    if crowd is not None and crowd not in (0, 1):
        yield "annotations have an 'iscrowd' that is neither 0 nor 1", repr(crowd)
    if not isinstance(box, list) or len(box) != 4 or not _are_numbers(box):
        yield 'boxes are not four finite numbers', repr(box)
        box = None
    elif max(map(abs, box)) > MAX_EXTENT:
        yield f'boxes have coordinates beyond {MAX_EXTENT} pixels', repr(box)
    elif box[2] <= 0 or box[3] <= 0:
        yield (
            'boxes have no size above 0: training skips them, and they cannot be detected in evaluation',
            repr(box),
            True,
        )
    elif image is not None and _reaches_out(box, image):
        yield 'boxes extend beyond their image', f'{box!r} in {image["width"]} x {image["height"]} pixels', True

    evaluated = 'segm' in use.metrics
    if is_used and (evaluated or (use.masks and _is_loaded(annotation, box, area, image))):
        yield from _mask_problems(annotation.get('segmentation'), image, evaluated)


def _is_loaded(annotation: dict[str, Any], box: Any, area: Any, image: dict[str, Any] | None) -> bool:
    """Return whether mmdet's CocoDataset loads an annotation, True if its values are invalid."""
    if image is None or box is None or not _has_size(image) or not _is_number(area):
        return True
    x, y, width, height = box
    inside: bool = min(x + width, image['width']) > max(x, 0) and min(y + height, image['height']) > max(y, 0)
    return inside and area > 0 and min(width, height) >= 1 and not annotation.get('ignore')


def _reaches_out(box: Sequence[float], image: dict[str, Any]) -> bool:
    if not _has_size(image):
        return False
    x, y, width, height = box
    right, bottom = image['width'] + MARGIN, image['height'] + MARGIN
    return x < -MARGIN or y < -MARGIN or x + width > right or y + height > bottom


def _mask_problems(mask: Any, image: dict[str, Any] | None, evaluated: bool) -> Iterator[tuple[Any, ...]]:
    if not mask and (mask is None or isinstance(mask, list | dict | str)):
        yield 'annotations have no mask', f'segmentation {mask!r}'
    elif isinstance(mask, list):
        yield from _polygon_problems(mask, evaluated)
    else:
        yield from _run_length_problems(mask, image)


def _polygon_problems(polygons: list[Any], evaluated: bool) -> Iterator[tuple[Any, ...]]:
    numbers = [one for one in polygons if isinstance(one, list) and _are_numbers(one)]
    if len(numbers) < len(polygons):
        wrong = next(one for one in polygons if not isinstance(one, list) or not _are_numbers(one))
        yield 'polygons are not lists of finite numbers', repr(wrong)
        return
    drawn = [one for one in polygons if is_polygon(one)]
    if len(drawn) < len(polygons):
        # Without another polygon, mmdet ignores the object in training, but COCO's evaluation fails.
        harmless = [True] if drawn or not evaluated else []
        problem = 'polygons do not have at least three corners of two numbers each'
        if not drawn:
            problem = f'masks have no polygon of at least three corners{"" if evaluated else ": training ignores them"}'
        yield problem, repr(next(one for one in polygons if not is_polygon(one))), *harmless
    if sum(map(_length, drawn)) > MAX_EXTENT or any(max(map(abs, one)) > MAX_EXTENT for one in drawn):
        yield f'polygons have coordinates beyond {MAX_EXTENT} pixels or are longer than that', repr(polygons)


def _length(polygon: list[float]) -> float:
    """Return an upper bound of the length of a polygon, more exact only if a coarse bound is too large."""
    bound = len(polygon) * (max(polygon) - min(polygon))
    if bound <= MAX_EXTENT / 100:
        return bound
    corners = np.array(polygon, dtype=float).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _run_length_problems(mask: Any, image: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
    problem = 'run-length masks cannot be decoded'
    size = mask.get('size') if isinstance(mask, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(one, int) and one > 0 for one in size)):
        yield problem, repr(mask)
    elif image is not None and size != [image['height'], image['width']]:
        yield 'run-length masks differ in size from their image', f'{size} in {image["height"]} x {image["width"]}'
    elif not _decodes(mask):
        yield problem, repr(mask)


def _decodes(mask: dict[str, Any]) -> bool:
    height, width = mask['size']
    counts = mask.get('counts')
    if height * width > MAX_PIXELS:
        return False
    if isinstance(counts, list):
        return all(isinstance(one, int) and one >= 0 for one in counts) and sum(counts) == height * width
    # pycocotools does not check bounds, so the run lengths are summed first.
    return isinstance(counts, str) and _sum_of_runs(counts) == height * width


def _sum_of_runs(counts: str) -> int:
    """Sum up COCO's compressed run lengths.

    They are in base 32, lowest digit first, and from the fourth on relative to the one before the previous.

    Returns:
        The sum, -1 if the text is invalid.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            return -1
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            return -1
        runs.append(value)
        value = shift = 0
    return -1 if shift else sum(runs)


def _has_size(image: dict[str, Any]) -> bool:
    return _is_number(image['width']) and _is_number(image['height'])


def _are_numbers(values: list[Any]) -> bool:
    if {*map(type, values)} <= {int, float}:
        try:
            if math.isfinite(sum(values)):  # not finite if one of them is infinite or NaN
                return True
        except OverflowError:  # an integer beyond the range of floats
            return False
    return all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def _is_id(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int | str) and not isinstance(value, bool)
