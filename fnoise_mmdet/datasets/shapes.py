"""The embedded data set: textured images of overlapping shapes, with masks.

It allows training, evaluation and visualization within minutes on any machine,
without a download. Classes differ by outline alone: colour, size, rotation and
texture are drawn from the same distributions for all of them.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .files import staged_folder, write_json, write_picture

Array = np.ndarray


def _circle(x: Array, y: Array) -> Array:
    return x**2 + y**2 < 0.8


def _bar(x: Array, y: Array) -> Array:
    return (np.abs(x) < 0.95) & (np.abs(y) < 0.4)


def _triangle(x: Array, y: Array) -> Array:
    """Return whether a point is in the equilateral triangle inscribed in the unit circle."""
    return (y < 0.5) & (np.sqrt(3) * np.abs(x) - y < 1)


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    return (np.maximum(x, y) < 0.95) & (np.minimum(x, y) < 0.3)


def _ring(x: Array, y: Array) -> Array:
    radius = x**2 + y**2
    return (radius > 0.25) & (radius < 0.95)


# Class name -> inside test over coordinates in [-1, 1].
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    'circle': _circle,
    'bar': _bar,
    'triangle': _triangle,
    'cross': _cross,
    'ring': _ring,
}
CLASSES = tuple(SHAPES)

# Objects with a smaller visible part are neither drawn nor annotated: without annotation, a visible object would be
# learned as background.
MIN_VISIBLE = 0.35
MIN_AREA = 0.0025  # of the image
OBJECTS = (2, 6)  # per image, inclusive
RADIUS = (0.1, 0.32)  # of the image's side


class Style(NamedTuple):
    """Rendering style of the images; objects and annotations are the same in all styles.

    ``brightness`` is a factor of all colours, and ``outline`` the width of
    objects drawn as their outline, as a fraction of the image's side, 0 for
    filled ones.
    """

    brightness: float = 1.0
    outline: float = 0.0


STYLES = dict(textured=Style(), dark=Style(brightness=0.5), outline=Style(outline=0.04))


def _texture(rng: np.random.Generator, size: int, contrast: float) -> Array:
    """Draw a zero-mean pattern of shape (size, size): stripes, checks, blobs or grain."""
    y, x = np.mgrid[:size, :size] / size
    kind = rng.integers(4)
    angle = rng.uniform(0, np.pi)
    frequency = rng.uniform(3, 12)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    if kind == 0:
        pattern = np.sin(2 * np.pi * frequency * along)
    elif kind == 1:
        pattern = np.sign(np.sin(2 * np.pi * frequency * along) * np.sin(2 * np.pi * frequency * across))
    elif kind == 2:
        coarse = rng.normal(size=(int(frequency),) * 2).astype(np.float32)
        pattern = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    else:
        pattern = rng.normal(size=(size, size))
    return contrast * pattern


def _background(rng: np.random.Generator, size: int) -> Array:
    """Draw a textured background of muted colours, float (size, size, 3) in 0..255."""
    y, x = np.mgrid[:size, :size] / size
    start, end = rng.uniform(40, 200) + rng.uniform(-25, 25, size=(2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.5 * (np.cos(angle) * (2 * x - 1) + np.sin(angle) * (2 * y - 1)) / np.sqrt(2)
    image = start + ramp[..., None] * (end - start)
    return image + _texture(rng, size, rng.uniform(4, 18))[..., None]


def _colour(rng: np.random.Generator) -> Array:
    """Draw a saturated colour, shape (3,): one channel high, one low, one arbitrary."""
    return rng.permutation([rng.uniform(200, 255), rng.uniform(0, 60), rng.uniform(0, 255)])


def draw_image(
    rng: np.random.Generator, size: int, style: Style = STYLES['textured']
) -> tuple[Array, list[tuple[int, Array]]]:
    """Draw one image and the visible masks of its objects.

    Args:
        rng: Random generator.
        size: Height and width in pixels.
        style: Rendering style.

    Returns:
        The RGB image, uint8 (size, size, 3), and per object its class index
        and visible mask, bool (size, size).
    """
    y, x = np.mgrid[:size, :size] + 0.5
    objects: list[tuple[int, Array, Array]] = []  # class, full mask, visible mask
    for _ in range(rng.integers(OBJECTS[0], OBJECTS[1] + 1)):
        label = int(rng.integers(len(CLASSES)))
        # Log-uniform: small objects are as frequent as large ones.
        radius = size * np.exp(rng.uniform(*np.log(RADIUS)))
        centre_x, centre_y = rng.uniform(0.6 * radius, size - 0.6 * radius, size=2)
        angle = rng.uniform(0, 2 * np.pi)
        u, v = (x - centre_x) / radius, (y - centre_y) / radius
        mask = SHAPES[CLASSES[label]](u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle))
        if mask.mean() < MIN_AREA:
            continue
        below = [(other, full, visible & ~mask) for other, full, visible in objects]
        if all(visible.mean() >= max(MIN_AREA, MIN_VISIBLE * full.mean()) for _, full, visible in below):
            objects = [*below, (label, mask, mask)]

    image = _background(rng, size)
    for _, full, _ in objects:
        paint = _colour(rng) + _texture(rng, size, rng.uniform(0, 25))[..., None]
        # Anti-aliased edge, one pixel wide.
        alpha = cv2.GaussianBlur(_outline(full, style.outline * size).astype(np.float32), (3, 3), 0.5)[..., None]
        image = image * (1 - alpha) + paint * alpha
    image = style.brightness * image + rng.normal(scale=4, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), [(label, visible) for label, _, visible in objects]


def _outline(mask: Array, width: float) -> Array:
    """Return the pixels of a mask that are at most ``width`` from its edge, all of them for 0."""
    if not width:
        return mask
    return mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(width))).astype(
        bool
    )


def _annotate(objects: list[tuple[int, Array]], image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Return the objects of one image as COCO annotations."""
    annotations = []
    for offset, (label, mask) in enumerate(objects):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotations.append(
            dict(
                id=first_id + offset,
                image_id=image_id,
                category_id=label + 1,
                bbox=[float(v) for v in coco_mask.toBbox(rle)],
                area=int(coco_mask.area(rle)),
                segmentation=dict(size=rle['size'], counts=rle['counts'].decode('ascii')),
                iscrowd=0,
            )
        )
    return annotations


def make_shapes(
    out: Path,
    num_train: int,
    num_val: int,
    num_test: int,
    size: int = 256,
    seed: int = 0,
    style: str = 'textured',
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda items, _: items,
) -> None:
    """Write the data set in COCO layout: ``annotations/instances_{split}.json`` and ``{split}/``.

    The same arguments give the same pixels and annotations, and other styles
    the same annotations. An image depends only on the seed, its split and its index, so a larger set begins with the
    images of a smaller one.

    Args:
        out: Folder to create, atomically.
        num_train: Number of training images; ``num_val`` and ``num_test`` likewise.
        size: Height and width of the images in pixels.
        seed: Random seed.
        style: A name in :data:`STYLES`.
        progress: Wraps the loop over the images of a split, given a label.

    Raises:
        InputError: If ``out`` already exists.
        ValueError: If a number is out of range.
    """
    counts = dict(train=num_train, val=num_val, test=num_test)
    for split, count in counts.items():
        if count < 1:
            raise ValueError(f'num_{split} must be >= 1, but got {count}')
    if size < 64:
        raise ValueError(f'size must be >= 64 pixels, but got {size}')
    if style not in STYLES:
        raise ValueError(f'style must be one of {", ".join(STYLES)}, but got {style}')
    categories = [dict(id=i + 1, name=name, supercategory='shape') for i, name in enumerate(CLASSES)]
    with staged_folder(out) as folder:
        for part, (split, count) in enumerate(counts.items()):
            (folder / split).mkdir()
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for index in progress(range(count), f'{split} images'):
                image, objects = draw_image(np.random.default_rng([seed, part, index]), size, STYLES[style])
                name = f'{index + 1:06d}.png'
                write_picture(folder / split / name, image)
                images.append(dict(id=index + 1, file_name=name, width=size, height=size))
                annotations += _annotate(objects, index + 1, len(annotations) + 1)
            write_json(
                folder / 'annotations' / f'instances_{split}.json',
                dict(
                    info=dict(description='fnoise_mmdet shapes', seed=seed),
                    images=images,
                    annotations=annotations,
                    categories=categories,
                ),
            )
