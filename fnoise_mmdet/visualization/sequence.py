"""The pictures of one image over a training, as an animation."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..datasets.files import write_atomically

MAX_SIZE = 1000  # pixels, longest side of a frame
MAX_FRAMES = 60
PALETTE_PIXELS = 1_000_000  # that the colours are taken from
MILLISECONDS = 600  # a frame; the last one stays three times as long


def find_frames(work_dir: Path, name: str, last_step: int) -> list[Path]:
    """Find the pictures of one image in a work dir, those of earlier starts of the run included.

    Args:
        work_dir: Folder with one folder for every start of the run.
        name: Name of the picture, without its step.
        last_step: Where the run is now; a resumed run may have gone further before.

    Returns:
        The files by step; of several of one step, that of the latest start.
    """
    found: dict[int, Path] = {}
    for folder in sorted(work_dir.glob('*/vis_data/vis_image')):  # the folders' names are times
        for path in folder.glob('*.png'):
            match = re.fullmatch(rf'{re.escape(name)}_(\d+)\.png', path.name)
            if match and int(match[1]) <= last_step:
                found[int(match[1])] = path
    return [found[step] for step in sorted(found)]


def write_gif(path: Path, frames: Sequence[Path]) -> None:
    """Write pictures as an animation that starts over, the file whole or not at all.

    Of more than 60 frames, that many are taken, evenly over all, the first and the last among them.
    """
    if len(frames) > MAX_FRAMES:
        frames = [frames[round(i * (len(frames) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]
    images: list[Image.Image] = []
    with Image.open(frames[-1]) as last:
        shrink = min(1, MAX_SIZE / max(last.size))
        size = round(last.width * shrink), round(last.height * shrink)
    for frame in frames:
        with Image.open(frame) as image:
            images.append(image.convert('RGB').resize(size, Image.Resampling.LANCZOS))
    palette = _palette(images)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [MILLISECONDS] * (len(images) - 1) + [3 * MILLISECONDS]
    content = io.BytesIO()
    images[0].save(content, 'GIF', save_all=True, append_images=images[1:], duration=durations, loop=0)
    write_atomically(path, content.getvalue())


def _palette(images: Sequence[Image.Image]) -> Image.Image:
    """Choose one palette for all frames: with one each, what stays the same would change its colour."""
    full = images[0]
    shrink = min(1, (PALETTE_PIXELS / (len(images) * full.width * full.height)) ** 0.5)
    width, height = max(1, round(full.width * shrink)), max(1, round(full.height * shrink))
    sheet = Image.new('RGB', (width, height * len(images)))
    for place, image in enumerate(images):
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (0, height * place))
    # The default method would sacrifice the ends of the colour scales, which take little room.
    return sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
