"""Image files that a user names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2

from ..errors import InputError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Give the images named, and those in the folders named.

    Raises:
        InputError: A path is neither a file nor a folder, a folder has no
            image, or two images have the same file name but for its suffix.
    """
    images: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f'folder {path} has no image ({", ".join(SUFFIXES)})')
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise InputError(f'input {path} is neither an image nor a folder')
    stems = Counter(path.stem for path in images)  # what is made of a.jpg and a.png has one name, such as a.json
    twice = [path.name for path in images if stems[path.stem] > 1]
    if twice:
        count = len({Path(name).stem for name in twice})
        raise InputError(f'{count} file names occur twice, e.g. {twice[0]}, and would overwrite each other')
    return images


def readable_images(inputs: Sequence[Path]) -> list[Path]:
    """Give the images of :func:`find_images` that can be read, and print the name of each that cannot.

    Raises:
        InputError: As of :func:`find_images`, or none of the images can be read.
    """
    images = []
    for path in find_images(inputs):
        if is_readable(path):
            images.append(path)
        else:
            print(f'skipped {path}: it cannot be read as an image')
    if not images:
        raise InputError('none of the inputs can be read as an image')
    return images


def is_readable(path: Path | str) -> bool:
    """Tell whether OpenCV can decode an image."""
    try:
        return cv2.imread(str(path)) is not None
    except Exception:  # a broken image makes OpenCV raise, or not, by its kind
        return False
