"""Finding and checking data sets in COCO format."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .images import printable
from .validate import is_inside

# Required keys of each kind of record.
REQUIRED_KEYS = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('image_id', 'category_id', 'bbox'),
    'categories': ('id', 'name'),
}


class Split(NamedTuple):
    """Paths of a split, relative to the root of the data set."""

    ann_file: str
    image_folder: str


def find_split(root: Path, split: str) -> Split:
    """Find a split of a data set in COCO layout.

    The annotations are ``annotations/instances_{split}.json`` or
    ``annotations/instances_{split}2017.json``, the images are in ``{split}/``,
    ``{split}2017/`` or ``images/``. COCO does not publish the annotations of
    its test split, so val is used if there is no test split.

    Args:
        root: Folder of the data set.
        split: ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        InputError: If the folder, the annotations or the images are not found.
    """
    if not root.is_dir():
        raise InputError(f'data root {root} is not a folder')
    ann_files = [f'annotations/instances_{split}{year}.json' for year in ('', '2017')]
    folders = [f'{split}/', f'{split}2017/', 'images/']
    ann_file = next((name for name in ann_files if (root / name).is_file()), None)
    if ann_file is None:
        if split == 'test':
            return find_split(root, 'val')
        raise InputError(f'data root {root} has no {split} annotations: neither {" nor ".join(ann_files)} found')
    folder = next((name for name in folders if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(f'data root {root} has no {split} images: none of the folders {", ".join(folders)} found')
    return Split(ann_file, folder)


def read_coco(path: Path, annotated: bool = True) -> dict[str, Any]:
    """Read an annotation file in COCO's instance format.

    Args:
        path: The JSON file.
        annotated: Whether the list of annotations is required. Files of test
            images have none. Defaults to True.

    Returns:
        Content of the file: ``images``, ``annotations``, ``categories`` and
        other entries.

    Raises:
        InputError: If the file is not found, not JSON, or not in COCO format.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise InputError(f'annotation file {path} not found') from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f'annotation file {path} cannot be read as JSON: {error}') from None
    if not isinstance(content, dict):
        raise InputError(
            f'annotation file {path} is not in COCO format: '
            f'its content must be an object with {", ".join(REQUIRED_KEYS)}, but is a {type(content).__name__}'
        )
    if not annotated:
        content.setdefault('annotations', [])
    for name, keys in REQUIRED_KEYS.items():
        records = content.get(name)
        if not isinstance(records, list):
            raise InputError(f'annotation file {path} is not in COCO format: it has no list {name!r}')
        for index, record in enumerate(records):
            missing = [key for key in keys if not isinstance(record, dict) or key not in record]
            if missing:
                raise InputError(
                    f'annotation file {path} is not in COCO format: {name}[{index}] has no {", ".join(missing)}'
                )
    return content


def class_names(coco: dict[str, Any]) -> tuple[str, ...]:
    """Return the category names in the order of the file, which is that of mmdet's labels."""
    return tuple(category['name'] for category in coco['categories'])


def missing_images(coco: dict[str, Any], folder: Path) -> list[str]:
    """Return the file names of ``images`` that are not in ``folder``."""
    return _missing(coco, folder)[0]


def _missing(coco: dict[str, Any], folder: Path) -> tuple[list[str], list[str]]:
    """Return the file names of ``images`` that are missing in ``folder``, and those that are not files."""
    listed: dict[str, dict[str, bool]] = {}  # a stat per file would be slow on network disks
    missing, not_files = [], []
    for image in coco['images']:
        name = image['file_name']
        if not is_inside(name):
            missing.append(str(name))
            continue
        parent, file = os.path.split(os.path.join(folder, name))
        if parent not in listed:
            listed[parent] = _list_files(parent)
        if file not in listed[parent]:
            missing.append(name)
        elif not listed[parent][file]:
            not_files.append(name)
    return missing, not_files


def _list_files(folder: str) -> dict[str, bool]:
    """Return the names in a folder, and whether each is a file or a link to one."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_file() for entry in entries}
    except OSError:  # not found, not a folder, or not readable
        return {}


def check_images(coco: dict[str, Any], folder: Path) -> None:
    """Check that every annotated image is a file in ``folder``.

    Raises:
        InputError: If some are not found, or are folders, pipes or dangling links.
    """
    missing, not_files = _missing(coco, folder)
    total = len(coco['images'])
    problems = []
    if missing:
        problems.append(
            f'{len(missing)} of {total} images are missing in {folder}, the first one is {printable(missing[0])}'
        )
    if not_files:
        problems.append(
            f'{len(not_files)} of {total} images in {folder} are not files (but folders, pipes, dangling links...), '
            f'the first one is {printable(not_files[0])}'
        )
    if problems:
        raise InputError('\n'.join(problems))
