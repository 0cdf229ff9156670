"""Pictures inside an HTML file."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ...datasets.images import open_image

MOST_PIXELS = 1600  # of a side of a photograph in a report


class Picture(NamedTuple):
    """A picture with its caption: uint8 (H, W, 3) in RGB."""

    caption: str
    image: np.ndarray

    @classmethod
    def read(cls, path: Path, caption: str) -> 'Picture | None':
        """Read a picture from a file, rotated as its EXIF orientation says, as mmcv does.

        Returns:
            None where it is no picture, is truncated, as a killed run leaves it, or larger than Pillow opens.
        """
        try:
            with open_image(path) as opened:
                return cls(caption, np.asarray(ImageOps.exif_transpose(opened).convert('RGB')))
        except Exception:  # Pillow's plugins raise many types
            return None

    @property
    def source(self) -> str:
        """The picture as a data address, so that the HTML file needs no other one."""
        buffer = io.BytesIO()
        Image.fromarray(self.image).quantize(256).save(buffer, 'PNG', optimize=True)
        return data_address(buffer.getvalue(), 'image/png')

    @property
    def photograph(self) -> str:
        """The picture as lossy WebP, for photographs, at most 1600 pixels wide and high."""
        buffer = io.BytesIO()
        image = Image.fromarray(self.image)
        image.thumbnail((MOST_PIXELS, MOST_PIXELS))
        image.save(buffer, 'WEBP', quality=80)
        return data_address(buffer.getvalue(), 'image/webp')


def data_address(content: bytes, kind: str) -> str:
    """Return content as an address that holds it."""
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'
