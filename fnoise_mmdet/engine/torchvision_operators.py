"""Import of torchvision where its compiled operators cannot be loaded.

torchvision's wheels are built for CUDA. With a CPU build of torch their
operators do not load, and importing torchvision fails because two of them are
unknown. timm imports torchvision but needs no operator, and mmengine imports
it, if it is installed, at the start of every training.
"""

import importlib.util
from pathlib import Path

import torch

# Operators that torchvision registers a shape function for, without checking that they exist.
REQUIRED = ('nms', 'qnms')

_library: torch.library.Library | None = None  # definitions last as long as the object


def declare_operators() -> None:
    """Declare the operators without which torchvision cannot be imported, if its own cannot be loaded."""
    global _library
    spec = importlib.util.find_spec('torchvision')
    if _library or torch.version.cuda or spec is None or not spec.origin:
        return
    try:
        for file in Path(spec.origin).parent.glob('_C.*'):
            torch.ops.load_library(file)
    except OSError:
        _library = torch.library.Library('torchvision', 'FRAGMENT')
        for name in REQUIRED:
            _library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')


def has_operators() -> bool:
    """Return whether torchvision is installed with operators that can be loaded."""
    return importlib.util.find_spec('torchvision') is not None and _library is None
