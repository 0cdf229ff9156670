"""What is wrong with annotations in COCO format, all of it at once."""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator
from numbers import Real
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pycocotools import mask as rle

# How far a box may reach over the edge of its image: COCO's own are rounded to hundredths of a pixel.
MARGIN = 1.0


# What mmdet gets along with: it leaves such objects out, or cuts them off.
HARMLESS = {
    'boxes have a negative size',
    'boxes reach out of their image',
    'polygons do not have at least three corners of two numbers each',
}
_HALF = re.compile('[\ud800-\udfff]')
NEEDED_TO_EVALUATE = ('id', 'area', 'iscrowd')


def annotation_findings(coco: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Find what would stop or mislead a training on annotations, a sentence for each kind with its first example.

    Ids must be unique and lead somewhere, sizes positive, file names within the
    folder of the images, boxes finite and within their image, masks polygons
    of at least three corners or run lengths that decode.

    Args:
        coco: Content of an annotation file, see :func:`~fnoise_mmdet.data.read_coco`.

    Returns:
        Errors, and what is odd but does no harm.
    """
    found = _Findings()
    for name in ('images', 'annotations', 'categories'):
        ids = [record.get('id') for record in coco[name] if name != 'annotations' or 'id' in record]
        for index, one in enumerate(ids):
            if not _is_id(one):
                found.add(f'{name} have an id that is no number or text', f'{name}[{index}]: {one!r}')
        counts = Counter(one for one in ids if isinstance(one, Hashable))
        for one, count in counts.items():
            if count > 1:
                found.add(f'ids of {name} are used more than once', f'{one!r}, {count} times')

    for image in coco['images']:
        where = f'image {image["id"]!r}'
        if not is_inside(image['file_name']):
            found.add('images have a file name that is none within their folder', f'{where}: {image["file_name"]!r}')
        if not all(_is_number(image[side]) and image[side] > 0 for side in ('width', 'height')):
            found.add('images have no size above 0', f'{where}: {image["width"]!r} x {image["height"]!r}')
    for category in coco['categories']:
        if not isinstance(category['name'], str) or not category['name']:
            found.add('categories have no name', f'category {category["id"]!r}: {category["name"]!r}')
    for name, count in Counter(str(category['name']) for category in coco['categories']).items():
        if count > 1:
            found.add('names of categories are used more than once', f'{name!r}, {count} times')

    images = {image['id']: image for image in coco['images'] if _is_id(image['id'])}
    categories = {category['id'] for category in coco['categories'] if _is_id(category['id'])}
    for index, annotation in enumerate(coco['annotations']):
        where = f'annotation {annotation.get("id", f"number {index}")!r}'
        for key in NEEDED_TO_EVALUATE:
            if key not in annotation:
                found.add(f'annotations have no {key!r}', where)
        if not _is_id(annotation['category_id']) or annotation['category_id'] not in categories:
            found.add('annotations have a category that is not there', f'{where}: {annotation["category_id"]!r}')
        image = images.get(annotation['image_id']) if _is_id(annotation['image_id']) else None
        if image is None:
            found.add('annotations have an image that is not there', f'{where}: {annotation["image_id"]!r}')
        for problem, example in _box_errors(annotation['bbox'], image):
            found.add(problem, f'{where}: {example}')
        for problem, example in _mask_errors(annotation.get('segmentation'), image):
            found.add(problem, f'{where}: {example}')
    return found.sentences(harmless=False), found.sentences(harmless=True)


def is_inside(name: Any) -> bool:
    """Tell whether a file name can be one, and stays within the folder that it is relative to, on every system."""
    if not isinstance(name, str) or not name or '\0' in name:
        return False
    paths = PurePosixPath(name), PureWindowsPath(name)
    if not paths[0].name or name.endswith(('/', '\\')):  # it names a folder
        return False
    # JSON can hold halves of characters, which no file system takes; a name of 255 bytes all do.
    if any(len(part.encode(errors='surrogatepass')) > 255 for part in paths[0].parts) or _HALF.search(name):
        return False
    return not any(path.is_absolute() or path.drive or path.root or '..' in path.parts for path in paths)


class _Findings:
    """Findings by kind: how many there are, and the first example."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, problem: str, example: str) -> None:
        self._counts[problem] += 1
        self._first.setdefault(problem, example[:200])

    def sentences(self, harmless: bool) -> list[str]:
        return [
            f'{count} {problem}, the first one: {self._first[problem]}'
            for problem, count in self._counts.items()
            if (problem in HARMLESS) == harmless
        ]


def _box_errors(box: Any, image: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        yield 'boxes are not four finite numbers', repr(box)
        return
    x, y, width, height = box
    if width < 0 or height < 0:
        yield 'boxes have a negative size', repr(box)
    if image is None or not all(_is_number(image[side]) for side in ('width', 'height')):
        return
    right, bottom = image['width'] + MARGIN, image['height'] + MARGIN
    if x < -MARGIN or y < -MARGIN or x + width > right or y + height > bottom:
        yield 'boxes reach out of their image', f'{box!r} in {image["width"]} x {image["height"]} pixels'


def _mask_errors(mask: Any, image: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if mask is None:
        return
    if isinstance(mask, list):
        for polygon in mask:
            if not isinstance(polygon, list) or not all(map(_is_number, polygon)):
                yield 'polygons are not lists of finite numbers', repr(polygon)
            elif len(polygon) < 6 or len(polygon) % 2:
                yield 'polygons do not have at least three corners of two numbers each', repr(polygon)
        return
    problem = 'run-length masks cannot be decoded'
    size = mask.get('size') if isinstance(mask, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(one, int) and one > 0 for one in size)):
        yield problem, repr(mask)
    elif image is not None and size != [image['height'], image['width']]:
        yield 'run-length masks have another size than their image', f'{size} in {image["height"]} x {image["width"]}'
    elif not _decodes(mask):
        yield problem, repr(mask)


def _decodes(mask: dict[str, Any]) -> bool:
    height, width = mask['size']
    counts = mask.get('counts')
    if isinstance(counts, list):
        return all(isinstance(one, int) and one >= 0 for one in counts) and sum(counts) == height * width
    if not isinstance(counts, str) or height * width > 2**31:
        return False
    # pycocotools reads whatever it is given, beyond its memory if need be: the lengths are summed up before.
    return _sum_of_runs(counts) == height * width and rle.decode(mask).shape == (height, width)


def _sum_of_runs(counts: str) -> int:
    """Sum up COCO's compressed run lengths.

    They are in base 32, lowest digit first, and from the fourth on relative to the last but one.
    Gives -1 where they are none.
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


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
