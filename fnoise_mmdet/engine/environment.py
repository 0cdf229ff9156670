"""Machine and package versions of a result."""

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

# Original and maintained distributions of mmengine, mmcv and mmdet.
DISTRIBUTIONS = (
    'torch', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv', 'onedl-mmdetection', 'mmdet', 'fnoise_mmdet', 'numpy',
    'pycocotools', 'numba', 'triton',
)  # fmt: skip


def environment() -> dict[str, str]:
    """Return processor, threads, GPU, and the versions of Python and packages, by name."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = {
        'processor': _processor(),
        'cores': str(os.cpu_count()),
        'torch threads': str(torch.get_num_threads()),
        'GPU': ', '.join(gpus) or 'none',
        'system': platform.system(),
        'Python': platform.python_version(),
    }
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Return the name of the processor, which `platform` does not report on Linux."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()
