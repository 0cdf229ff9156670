"""Data sets in COCO format: find, check, download, sample and generate them."""

from .coco import Split, check_images, class_names, find_split, missing_images, read_coco
from .download import CocoServer
from .sample import fold_coco, read_ids, sample_coco
from .shapes import make_shapes
from .validate import Use, annotation_findings, count_objects, is_inside

__all__ = [
    'CocoServer',
    'Split',
    'Use',
    'annotation_findings',
    'check_images',
    'class_names',
    'count_objects',
    'find_split',
    'fold_coco',
    'is_inside',
    'make_shapes',
    'missing_images',
    'read_coco',
    'read_ids',
    'sample_coco',
]
