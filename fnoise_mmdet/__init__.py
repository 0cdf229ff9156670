"""F-Noise (feature noise) for MMDetection."""

import lazy_loader
from wrapt import when_imported

from .engine.caches import provide_caches
from .registration import check_mmcv, declare_operators, register

provide_caches()  # before importing packages that need them
when_imported('torch')(declare_operators)  # before torchvision is imported
when_imported('mmcv')(check_mmcv)
when_imported('mmdet.registry')(register)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
