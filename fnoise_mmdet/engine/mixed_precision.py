"""Automatic mixed precision, on a GPU by mmengine's means and on a CPU by our own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

FLAGS = {'avx512_bf16', 'amx_bf16', 'bf16'}  # of processors that compute in bfloat16, the last one of Arm
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` with convolutions and fully connected layers computed in bfloat16.

    These are most of a training step on a CPU, and processors that compute in
    bfloat16 do them in half the time. Their inputs, outputs and weights stay
    of single precision, and so does all the rest: ``torch.autocast`` around
    the whole would hand bfloat16 on to mmcv's operators, which refuse it.
    Numbers of bfloat16 have the range of float32, so the loss needs no
    scaling. Evaluation is not touched.

    Takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute the losses in mixed precision."""
        self._model = model
        with super().optim_context(model), _in_bfloat16(model):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Compute the gradients; what gradient checkpointing runs again is in mixed precision too."""
        with _in_bfloat16(self._model):
            super().backward(loss, **kwargs)


@contextmanager
def _in_bfloat16(model: nn.Module) -> Iterator[None]:
    """Let the layers of a model that multiply matrices do it in bfloat16, and give their results in float32."""
    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop('forward', None)  # gone where a context within this one has ended


def _forward(layer: nn.Module, *args: Any) -> Tensor:
    with torch.autocast('cpu', torch.bfloat16):
        return type(layer).forward(layer, *args).float()


def computes_in_bfloat16() -> bool:
    """Whether this machine's processor computes in bfloat16; others do it by detours that take longer than float32."""
    cpuinfo = Path('/proc/cpuinfo')
    return cpuinfo.is_file() and not FLAGS.isdisjoint(cpuinfo.read_text().split())


def use_amp(cfg: Config) -> None:
    """Train with automatic mixed precision, in place: in half precision on a GPU, in bfloat16 on a CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        return
    cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    for setting in ('loss_scale', 'dtype', 'use_fsdp'):  # of mmengine's AmpOptimWrapper
        cfg.optim_wrapper.pop(setting, None)
