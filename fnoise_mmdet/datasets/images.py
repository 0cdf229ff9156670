"""Finding, checking and decoding image files."""

import contextlib
import hashlib
import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InputError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp', '.gif')
# Formats that OpenCV reads, too. For some others Pillow runs external programs.
FORMATS = ('BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'SUN', 'TIFF', 'WEBP')
MAX_BYTES = 2**31
MAX_STEM = 240  # bytes of a name, of the 255 that file systems allow
UNREADABLE = 'unreadable'  # key of a sample whose image could not be read, see CorruptImageHook
ORIENTATION = 0x0112  # EXIF tag; values >= 5 are rotations by 90 degrees
CHECKED_HEADERS = 5000  # images of a data set whose headers are read, about 0.5 s
DECODED_IMAGES = 20  # images of a data set that are decoded


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the given images, and those in the given folders.

    Raises:
        InputError: If a path is neither a file nor a folder, a folder has no
            image, or two images have the same file name up to the suffix.
    """
    images: list[Path] = []
    for path in inputs:
        if os.path.isdir(path):  # Path.is_dir() raises on a name that is too long
            found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f'folder {path} has no image ({", ".join(SUFFIXES)})')
            images += found
        elif os.path.isfile(path):
            images.append(path)
        else:
            raise InputError(f'input {path} is neither an image file nor a folder')
    stems = Counter(output_stem(path) for path in images)  # outputs of a.jpg and a.png have the same name, e.g. a.json
    twice = [path.name for path in images if stems[output_stem(path)] > 1]
    if twice:
        count = sum(1 for times in stems.values() if times > 1)
        raise InputError(f'{count} file names occur twice, e.g. {twice[0]}, and would overwrite each other')
    return images


def readable_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the readable images of :func:`find_images`, and report the others.

    Raises:
        InputError: As :func:`find_images`, or if none of the images can be read.
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
    """Return a file name as printable text, with control characters and non-UTF-8 bytes escaped as in ``%E4.png``."""
    return re.sub('[\0-\x1f\x7f\udc80-\udcff]', lambda one: f'%{ord(one[0]) & 0xFF:02X}', name)


def output_stem(path: Path) -> str:
    """Return a printable output name for an image, without suffix and short enough to add one."""
    stem = re.sub('[\udc80-\udcff]+', lambda found: printable(found[0]), path.stem)
    if len(stem.encode()) <= MAX_STEM:
        return stem
    short = stem.encode()[: MAX_STEM - 9].decode(errors='ignore')
    return f'{short}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}'


def image_fault(path: Path) -> str | None:
    """Return why an image cannot be used, None if it can.

    OpenCV, used by mmdet, must decode it. Also rejected are truncated images,
    which OpenCV fills with grey, and images over Pillow's limit for
    decompression bombs.
    """
    return header_fault(path) or _content_fault(path)


def header_fault(path: Path) -> str | None:
    """Return why a file cannot be used as an image, from its type and header alone, None if it can."""
    header = _read_header(path)
    return header if isinstance(header, str) else None


def _read_header(path: Path) -> str | list[tuple[int, int]]:
    """Return the error of a file, or the possible (width, height) as seen by mmdet.

    Whether an EXIF rotation is applied depends on the settings of the loader.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # not found, a dangling link, or a name that is too long
        return 'it is not a file'
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        return 'it is not a file'
    if not os.access(path, os.R_OK):
        return 'it is not readable'
    if not status.st_size:
        return 'it is empty'
    if status.st_size > MAX_BYTES:
        return f'it is larger than {MAX_BYTES / 2**30:g} GiB'
    try:
        with open_image(path) as image:
            width, height = image.size
            sizes = [(width, height)]
            with contextlib.suppress(Exception):  # corrupt metadata
                if image.getexif().get(ORIENTATION, 1) >= 5:
                    sizes.append((height, width))
            return sizes
    except Image.DecompressionBombError:
        return f'it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels'
    except UnidentifiedImageError:
        # OpenCV decodes some others, such as Radiance HDR, but without a limit on their size.
        return f'it cannot be read as an image: it is none of {", ".join(FORMATS)}'
    except Exception as error:  # Pillow's plugins raise many types
        return f'it is not a complete image: {error}'


def _content_fault(path: Path) -> str | None:
    try:
        with open_image(path) as image:
            image.load()
    except Exception as error:
        return f'it is not a complete image: {error}'
    return 'it cannot be read as an image' if decode(path) is None else None


def open_image(source: Path | IO[bytes]) -> Image.Image:
    """Open an image of one of :data:`FORMATS` by Pillow, which reads only the header."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # below the limit, or about odd metadata
        return Image.open(source, formats=FORMATS)


def decode(path: Path) -> np.ndarray | None:
    """Decode an image as mmdet does, as BGR uint8 (H, W, 3) with EXIF rotation applied; None if that fails.

    The file is not opened by OpenCV, which aborts on names that are not UTF-8.
    """
    try:
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None


def check_image_files(images: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Check type and header of the images of a data set, and decode an evenly spaced subset.

    Args:
        images: Records of an annotation file, with ``file_name``, ``width`` and ``height``.
        folder: Folder of the files; missing files are skipped.

    Raises:
        InputError: If an image cannot be read, or its size differs from the
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
