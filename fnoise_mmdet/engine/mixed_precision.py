"""Automatic mixed precision: mmengine's on a GPU, bfloat16 layers on a CPU."""

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

FLAGS = {'avx512_bf16', 'amx_bf16', 'bf16'}  # CPU flags for bfloat16 arithmetic, the last one on Arm
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` with convolutions and linear layers computed in bfloat16.

    These dominate a training step on a CPU, and take half the time on
    processors with bfloat16 arithmetic. Their inputs, outputs and weights stay
    in float32, like everything else: ``torch.autocast`` around the model would
    pass bfloat16 to mmcv's operators, which do not support it. bfloat16 has the
    range of float32, so the loss needs no scaling. Evaluation is unchanged.

    Takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in mixed precision."""
        self._model = model
        with super().optim_context(model), _in_bfloat16(model):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Run the backward pass, with recomputation of gradient checkpointing in mixed precision, too."""
        with _in_bfloat16(self._model):
            super().backward(loss, **kwargs)


@contextmanager
def _in_bfloat16(model: nn.Module) -> Iterator[None]:
    """Compute convolutions and linear layers of a model in bfloat16, with outputs in float32."""
    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop('forward', None)  # already removed by a nested context


def _forward(layer: nn.Module, *args: Any) -> Tensor:
    with torch.autocast('cpu', torch.bfloat16):
        return type(layer).forward(layer, *args).float()


def computes_in_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 arithmetic; emulation on others is slower than float32."""
    cpuinfo = Path('/proc/cpuinfo')
    return cpuinfo.is_file() and not FLAGS.isdisjoint(cpuinfo.read_text().split())


def use_amp(cfg: Config) -> None:
    """Configure automatic mixed precision, in place: float16 on a GPU, bfloat16 on a CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        return
    cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    for setting in ('loss_scale', 'dtype', 'use_fsdp'):  # settings of mmengine's AmpOptimWrapper
        cfg.optim_wrapper.pop(setting, None)
