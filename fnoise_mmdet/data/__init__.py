"""Data sets in COCO format: finding, checking, sampling, and drawing them.

Nothing here needs torch.
"""

from .coco import Split, check_images, class_names, find_split, missing_images, read_coco
from .sample import sample_coco
from .shapes import make_shapes

__all__ = [
    'Split',
    'check_images',
    'class_names',
    'find_split',
    'make_shapes',
    'missing_images',
    'read_coco',
    'sample_coco',
]
