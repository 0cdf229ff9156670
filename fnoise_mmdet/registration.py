"""Post-import hooks: registration in mmdet, checks of mmcv and torchvision."""

import importlib
import importlib.util
from types import ModuleType

# Registries of mmdet, and the modules whose classes belong to them.
REGISTERED = {
    'MODELS': 'fnoise_mmdet.models',
    'HOOKS': 'fnoise_mmdet.engine.hooks',
    'OPTIM_WRAPPERS': 'fnoise_mmdet.engine.mixed_precision',
    'METRICS': 'fnoise_mmdet.evaluation.coco_metric',
    'TRANSFORMS': 'fnoise_mmdet.evaluation.corruption',
    'VISBACKENDS': 'fnoise_mmdet.visualization.vis_backend',
}


def register(registries: ModuleType) -> None:
    """Register the modules of this package with mmdet's registries, which import them on first lookup.

    A registry that has already imported its modules does not import again, so
    they are imported here.

    Args:
        registries: ``mmdet.registry``.
    """
    for name, module in REGISTERED.items():
        registry = getattr(registries, name)
        registry._locations.append(module)
        if registry._imported:
            importlib.import_module(module)


def check_mmcv(mmcv: ModuleType) -> None:
    """Check that mmcv has its operators; the error would be raised deep inside mmdet, without a hint at the remedy.

    Raises:
        ImportError: If it has none.
    """
    if importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(
            'mmcv was installed without its compiled operators (mmcv._ext), probably because torch was missing when it '
            'was built: install torch, setuptools, wheel, ninja and psutil, then rebuild it with '
            '`pip install --no-cache-dir --force-reinstall --no-deps --no-build-isolation onedl-mmcv` '
            '(or mmcv==2.1.0, depending on your installation)'
        )


def declare_operators(torch: ModuleType) -> None:
    """Declare what torchvision needs, see :func:`.torchvision_operators.declare_operators`."""
    importlib.import_module('fnoise_mmdet.engine.torchvision_operators').declare_operators()
