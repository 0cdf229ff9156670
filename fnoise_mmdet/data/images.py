"""Image files that a user names."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
from PIL import Image, UnidentifiedImageError

from ..errors import InputError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp', '.gif')


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
        fault = image_fault(path)
        if fault is None:
            images.append(path)
        else:
            print(f'skipped {path}: {fault}')
    if not images:
        raise InputError('none of the inputs can be read as an image')
    return images


def image_fault(path: Path) -> str | None:
    """Tell why an image cannot be used, or give None where it can.

    OpenCV, which mmdet reads with, must decode it. What OpenCV lets pass is
    refused all the same where detections on it would mislead (a JPEG that is
    cut off is filled up with grey) or would take all memory (Pillow's limit for decompression bombs).
    """
    if not path.is_file():  # a pipe would be waited for
        return 'it is no file'
    if not os.access(path, os.R_OK):
        return 'it may not be read'
    if not path.stat().st_size:
        return 'it is empty'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # below the limit, and of odd metadata
            with Image.open(path) as image:
                image.load()
    except Image.DecompressionBombError:
        return f'it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels'
    except UnidentifiedImageError:
        pass  # OpenCV reads formats that Pillow does not
    except Exception as error:  # Pillow's plugins raise all kinds
        return f'it cannot be read as a whole image: {error}'
    try:
        decoded = cv2.imread(str(path)) is not None
    except cv2.error:
        decoded = False
    return None if decoded else 'it cannot be read as an image'
