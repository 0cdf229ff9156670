"""Image files, of a data set or named by a user."""

import contextlib
import hashlib
import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InputError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp', '.gif')
# What OpenCV reads too. Others are not tried: for some of them Pillow runs programs.
FORMATS = ('BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'SUN', 'TIFF', 'WEBP')
MAX_BYTES = 2**31
MAX_STEM = 240  # bytes of a name, of 255 that file systems take
UNREADABLE = 'unreadable'  # marks a sample whose image could not be read, see CorruptImageHook
ORIENTATION = 0x0112  # of EXIF; from 5 on the image lies on its side
CHECKED_HEADERS = 5000  # images of a data set whose headers are read: half a second
DECODED_IMAGES = 20  # and those that are decoded


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the images named, and those in the folders named.

    Raises:
        InputError: A path is neither a file nor a folder, a folder has no
            image, or two images have the same file name but for its suffix.
    """
    images: list[Path] = []
    for path in inputs:
        if os.path.isdir(path):  # False also for a name that is too long, of which Path.is_dir() raises
            found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f'folder {path} has no image ({", ".join(SUFFIXES)})')
            images += found
        elif os.path.isfile(path):
            images.append(path)
        else:
            raise InputError(f'input {path} is neither an image nor a folder')
    stems = Counter(output_stem(path) for path in images)  # what is made of a.jpg and a.png has one name, as a.json
    twice = [path.name for path in images if stems[output_stem(path)] > 1]
    if twice:
        count = sum(1 for times in stems.values() if times > 1)
        raise InputError(f'{count} file names occur twice, e.g. {twice[0]}, and would overwrite each other')
    return images


def readable_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the images of :func:`find_images` that can be read, and print the name of each that cannot.

    Raises:
        InputError: As of :func:`find_images`, or none of the images can be read.
    """
    images = []
    for path in find_images(inputs):
        fault = image_fault(path)
        if fault is None:
            images.append(path)
        else:
            print(f'skipped {printable(str(path))}: {fault}')
    if not images:
        raise InputError('none of the inputs can be read as an image')
    return images


def printable(name: str) -> str:
    """Return a file name on one line of text: bytes that are not UTF-8, and control characters, as in ``%E4.png``."""
    return re.sub('[\0-\x1f\x7f\udc80-\udcff]', lambda one: f'%{ord(one[0]) & 0xFF:02X}', name)


def output_stem(path: Path) -> str:
    """Return the name, without suffix, of what is made of an image: printable text that leaves room for a suffix."""
    stem = re.sub('[\udc80-\udcff]+', lambda found: printable(found[0]), path.stem)
    if len(stem.encode()) <= MAX_STEM:
        return stem
    short = stem.encode()[: MAX_STEM - 9].decode(errors='ignore')
    return f'{short}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}'


def image_fault(path: Path) -> str | None:
    """Return why an image cannot be used, or return None where it can.

    OpenCV, which mmdet reads with, must decode it. What OpenCV lets pass is
    refused all the same where detections on it would mislead (a JPEG that is
    cut off is filled up with grey) or would take all memory (Pillow's limit for decompression bombs).
    """
    return header_fault(path) or _content_fault(path)


def header_fault(path: Path) -> str | None:
    """Tell from the type and the header of a file, without decoding it, why it cannot be used as an image."""
    header = _read_header(path)
    return header if isinstance(header, str) else None


def _read_header(path: Path) -> str | list[tuple[int, int]]:
    """Return what is wrong with a file, or width and height as mmdet may see them, none where they are not known.

    An image that lies on its side by its EXIF may be turned, or not, by the settings of the loader.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # nothing there, a dangling link, a name that is too long
        return 'it is no file'
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        return 'it is no file'
    if not os.access(path, os.R_OK):
        return 'it may not be read'
    if not status.st_size:
        return 'it is empty'
    if status.st_size > MAX_BYTES:
        return f'it is larger than {MAX_BYTES / 2**30:g} GiB'
    try:
        with _open(path) as image:
            width, height = image.size
            sizes = [(width, height)]
            with contextlib.suppress(Exception):  # broken metadata
                if image.getexif().get(ORIENTATION, 1) >= 5:
                    sizes.append((height, width))
            return sizes
    except Image.DecompressionBombError:
        return f'it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels'
    except UnidentifiedImageError:
        return []  # OpenCV reads formats that Pillow does not
    except Exception as error:  # Pillow's plugins raise all kinds
        return f'it cannot be read as a whole image: {error}'


def _content_fault(path: Path) -> str | None:
    try:
        with _open(path) as image:
            image.load()
    except UnidentifiedImageError:
        pass
    except Exception as error:
        return f'it cannot be read as a whole image: {error}'
    return 'it cannot be read as an image' if decode(path) is None else None


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # below the limit, and of odd metadata
        return Image.open(path, formats=FORMATS)


def decode(path: Path) -> np.ndarray | None:
    """Decode an image as mmdet does: BGR, uint8, (H, W, 3), turned as its EXIF says; None where that fails.

    The file is read here: OpenCV ends the process at a name that is not UTF-8.
    """
    try:
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None


def check_image_files(images: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Check type and header of images of a data set, and decode a few of them, evenly spread.

    Args:
        images: Records of an annotation file, with ``file_name``, ``width`` and ``height``.
        folder: Where the files are; those that are not there are skipped.

    Raises:
        InputError: An image cannot be read, or has another size than in the
            annotations; the message names the first of each kind.
    """
    unreadable: list[str] = []
    of_other_size: list[str] = []
    decoded = {image['file_name'] for image in _spread(images, DECODED_IMAGES)}
    for image in _spread(images, CHECKED_HEADERS):
        path = folder / image['file_name']
        if not os.path.isfile(path):
            continue
        header = _read_header(path)
        if not isinstance(header, str) and image['file_name'] in decoded:
            pixels = decode(path)
            header = _content_fault(path) or ([] if pixels is None else [(pixels.shape[1], pixels.shape[0])])
        expected = (image['width'], image['height'])
        if isinstance(header, str):
            unreadable.append(f'image {printable(str(path))} cannot be decoded: {header}')
        elif header and expected not in header:
            found = ' x '.join(map(str, header[-1]))
            of_other_size.append(
                f'image {printable(str(path))} has {found} pixels, but {expected[0]} x {expected[1]} in the annotations'
            )
    problems = [
        problem[0] + (f' (and {len(problem) - 1} more like this)' if len(problem) > 1 else '')
        for problem in (unreadable, of_other_size)
        if problem
    ]
    if problems:
        raise InputError('\n'.join(problems))


def _spread(items: Sequence[Any], number: int) -> Sequence[Any]:
    return items[:: -(-len(items) // number) or 1]
