"""Animation of the panels of one image over a training."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..datasets.files import write_atomically
from ..datasets.images import open_image

MAX_SIZE = 1000  # pixels, longest side of a frame
MAX_FRAMES = 60
PALETTE_PIXELS = 200_000  # sampled for the palette; a million take 6 s instead of 0.4 s and look the same
MILLISECONDS = 600  # per frame, three times as long for the last one


def find_frames(work_dir: Path, name: str, last_step: int) -> list[Path]:
    """Find the panels of one image in a work dir, including those of earlier starts of the run.

    Args:
        work_dir: Folder with one subfolder per start of the run.
        name: Name of the panel, without its step.
        last_step: Current step; an earlier start may have gone further.

    Returns:
        The files by step, of the latest start if there are several.
    """
    found: dict[int, Path] = {}
    for folder in sorted(work_dir.glob('*/vis_data/vis_image')):  # folder names are timestamps
        for path in folder.glob('*.png'):
            match = re.fullmatch(rf'{re.escape(name)}_(\d+)\.png', path.name)
            if match and int(match[1]) <= last_step:
                found[int(match[1])] = path
    return [found[step] for step in sorted(found)]


def write_gif(path: Path, frames: Sequence[Path]) -> None:
    """Write images as a looping animation, atomically.

    At most 60 evenly spaced frames are used, including the first and the last.
    """
    if len(frames) > MAX_FRAMES:
        frames = [frames[round(i * (len(frames) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]
    images: list[Image.Image] = []
    with open_image(frames[-1]) as last:
        shrink = min(1, MAX_SIZE / max(last.size))
        size = round(last.width * shrink), round(last.height * shrink)
    for frame in frames:
        with open_image(frame) as image:
            images.append(image.convert('RGB').resize(size, Image.Resampling.LANCZOS))
    palette = _palette(images)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [MILLISECONDS] * (len(images) - 1) + [3 * MILLISECONDS]
    content = io.BytesIO()
    images[0].save(content, 'GIF', save_all=True, append_images=images[1:], duration=durations, loop=0)
    write_atomically(path, content.getvalue())


def _palette(images: Sequence[Image.Image]) -> Image.Image:
    """Compute a common palette, so that colours do not change between frames."""
    full = images[0]
    shrink = min(1, (PALETTE_PIXELS / (len(images) * full.width * full.height)) ** 0.5)
    width, height = max(1, round(full.width * shrink)), max(1, round(full.height * shrink))
    sheet = Image.new('RGB', (width, height * len(images)))
    for place, image in enumerate(images):
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (0, height * place))
    # The default method would lose the ends of the colour scales, which cover few pixels.
    return sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
