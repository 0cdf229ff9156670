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
            image, or two images have the same file name.
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
    twice = [name for name, count in Counter(path.name for path in images).items() if count > 1]
    if twice:
        raise InputError(f'{len(twice)} file names occur twice, e.g. {twice[0]}, and would overwrite each other')
    return images


def readable_images(inputs: Sequence[Path]) -> list[Path]:
    """Give the images of :func:`find_images` that can be read, and print the name of each that cannot.

    Raises:
        InputError: As of :func:`find_images`, or none of the images can be read.
    """
    images = []
    for path in find_images(inputs):
        if _is_readable(path):
            images.append(path)
        else:
            print(f'skipped {path}: it cannot be read as an image')
    if not images:
        raise InputError('none of the inputs can be read as an image')
    return images


def _is_readable(path: Path) -> bool:
    try:
        return cv2.imread(str(path)) is not None
    except Exception:  # a broken image makes OpenCV raise, or not, by its kind
        return False
