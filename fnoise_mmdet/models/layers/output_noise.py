"""Noise on the outputs of modules of a detector, by forward hooks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ...errors import did_you_mean
from .noise_layer import NoiseLayer, resolve_levels

PLACES = ('stage', 'roi', 'query')
# Attributes of mmdet's backbones that hold the stages: a list of names, or a ModuleList.
STAGES = ('res_layers', 'cr_blocks', 'stages', 'layers')


class OutputNoise(NoiseLayer):
    """Perturb the outputs of modules of a detector in training.

    The modules are left as they are and get a forward hook, so the state dict
    of the detector is that without noise. The layer must be a submodule of the
    detector, to be in its mode.

    Args:
        detector: The detector.
        place: Modules whose outputs are the levels, see :func:`find_outputs`.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``, CCT's F-Noise.
        levels: Indices of the modules, negative ones counted from the last. Defaults to None, which is every one.
        check_finite: Whether to raise an error if the features contain NaN or Inf. Defaults to True.

    Attributes:
        watchers: Functions that are called in every forward pass with level, clean and perturbed features, the same
            tensor where there is no noise.

    Raises:
        TypeError: If the noise is invalid, or the levels are not a list of integers.
        ValueError: If the detector has no such place, or a level does not exist or is given twice.
    """

    def __init__(
        self,
        detector: nn.Module,
        place: str,
        noise: dict[str, Any] | None = None,
        levels: Sequence[int] | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(noise, levels, check_finite)
        self._place = place
        self.names = find_outputs(detector, place)
        self.watchers: list[Callable[[int, Tensor, Tensor], None]] = []
        self._detector = (detector,)  # in a tuple, since it is not a submodule
        self._perturbed = resolve_levels(self.levels, len(self.names))
        # The hooks are on modules within the model of timm, and TIMMBackbone permutes only what it returns.
        self._is_channels_last = place == 'stage' and getattr(detector.backbone, 'is_channels_last', False)
        for level, name in enumerate(self.names):
            detector.get_submodule(name).register_forward_hook(partial(self._replace, level))

    @property
    def place(self) -> str:
        return self._place

    @property
    def is_of_images(self) -> bool:
        return self.place not in ('roi', 'query')

    def preview(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        return [
            _restored(self.first_draw({level: _as_map(x)})[0], x) if level in self._perturbed else x
            for level, x in enumerate(features)
        ]

    @torch.compiler.disable  # the noise can be compiled, but not the access to the runner
    def _replace(self, level: int, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Return the output of a module with noise, or None to keep it."""
        # Text follows the memory of some encoders.
        has_more = isinstance(output, tuple) and isinstance(output[0], Tensor) and output[0].ndim == 3
        x = output[0] if has_more else output
        if self._is_channels_last:
            x = x.permute(0, 3, 1, 2)
        y = x
        if level in self._perturbed and self.is_active():
            if not isinstance(x, Tensor) or x.ndim not in (3, 4):
                what = f'a tensor of shape {tuple(x.shape)}' if isinstance(x, Tensor) else f'a {type(x).__name__}'
                raise ValueError(
                    f'the output of {self.names[level]} must be a tensor (B, C, H, W) or (B, L, C) to get noise, but '
                    f'is {what}'
                )
            if x.numel():  # a batch may have no region
                (noisy,) = self.perturb({level: _as_map(x)}, f'outputs of {self.names[level]}')
                y = _restored(noisy, x)
        for watcher in self.watchers:
            watcher(level, x, y)
        if y is x:
            return None
        if self._is_channels_last:
            y = y.permute(0, 2, 3, 1)
        return (y, *output[1:]) if has_more else y

    def _owner(self) -> nn.Module:
        return self._detector[0]

    def extra_repr(self) -> str:
        return f'place={self.place!r}, {super().extra_repr()}'


def find_outputs(detector: nn.Module, place: str) -> list[str]:
    """Return the names of the modules of a detector at a place.

    Args:
        detector: The detector.
        place: ``'stage'``: the stages of the backbone, so that the later ones see the noise;
            ``'roi'``: the RoI extractors of the box heads, then those of the mask heads;
            ``'query'``: the encoder of a DETR, whose output is the memory that queries attend to;
            or the name of a module, such as ``'backbone.layer1.0'``.

    Raises:
        ValueError: If the detector has no such place.
    """
    names: list[str] = []
    if place == 'stage':
        names = _stages(detector._modules.get('backbone'))
        known = 'are not known here'
    elif place == 'roi':
        names = _roi_extractors(detector._modules.get('roi_head'))
        known = 'do not exist'
    elif place == 'query':
        names = ['encoder'] if isinstance(detector._modules.get('encoder'), nn.Module) else []
        known = 'do not exist'
    else:
        modules = [name for name, _ in detector.named_modules() if name]
        if place not in modules:
            raise ValueError(
                f'place must be pre, post, {", ".join(PLACES)} or the name of a module, but '
                f'{type(detector).__name__} has no {place!r}{did_you_mean(place, ["pre", "post", *PLACES, *modules])}'
            )
        names = [place]
    if not names:
        what = dict(stage='stages of its backbone', roi='RoI extractors', query='encoder outputs')[place]
        raise ValueError(
            f'{type(detector).__name__} has no place {place!r}, since {what} {known}: choose another one of '
            f'pre, post, {", ".join(PLACES)}, or name a module, such as backbone.layer1'
        )
    return names


def _stages(backbone: nn.Module | None) -> list[str]:
    """Return the names of the modules whose outputs are those of a backbone's stages."""
    if backbone is None:
        return []
    timm: Any = backbone._modules.get('timm_model')
    if timm is not None:
        modules = dict(timm.named_modules())
        names = [name if name in modules else name.replace('.', '_') for name in timm.feature_info.module_name()]
        return [f'backbone.timm_model.{name}' for name in names]
    attribute = next((name for name in STAGES if getattr(backbone, name, None)), '')
    if not attribute:
        return []
    stages: Any = getattr(backbone, attribute)
    names = [f'{attribute}.{i}' for i in range(len(stages))] if isinstance(stages, nn.ModuleList) else list(stages)
    found = []
    for name in names:
        stage = backbone.get_submodule(name)
        if name == 'stem' or isinstance(stage, ConvModule):  # before the first, or after the last stage
            continue
        blocks = stage._modules.get('blocks')
        if isinstance(blocks, nn.ModuleList):  # Swin returns them and their downsampled version
            name = f'{name}.blocks.{len(blocks) - 1}'
        elif isinstance(stage, nn.ModuleList):  # PVT ends a stage with a norm
            name = f'{name}.{len(stage) - 1}'
        found.append(f'backbone.{name}')
    return found


def _roi_extractors(head: nn.Module | None) -> list[str]:
    """Return the names of the RoI extractors, each once: heads may share one."""
    found: dict[int, str] = {}
    for kind in ('bbox_roi_extractor', 'mask_roi_extractor') if head is not None else ():
        extractor = getattr(head, kind, None)
        stages = extractor if isinstance(extractor, nn.ModuleList) else [extractor]
        for index, module in enumerate(stages):
            if module is not None:
                name = f'roi_head.{kind}' + (f'.{index}' if isinstance(extractor, nn.ModuleList) else '')
                found.setdefault(id(module), name)
    return list(found.values())


def _as_map(x: Tensor) -> Tensor:
    """Return (B, C, H, W) as it is, and tokens (B, L, C) as (B, C, L, 1)."""
    return x if x.ndim == 4 else x.transpose(1, 2).unsqueeze(-1)


def _restored(y: Tensor, x: Tensor) -> Tensor:
    """Return the features of :func:`_as_map` in the shape of ``x``."""
    return y if x.ndim == 4 else y.squeeze(-1).transpose(1, 2)
