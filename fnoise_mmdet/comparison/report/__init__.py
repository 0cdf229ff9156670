"""A comparison as one HTML file, with its figures and numbers beside it."""

from .detections import detection_pictures
from .picture import Picture
from .write import write_report

__all__ = ['Picture', 'detection_pictures', 'write_report']
