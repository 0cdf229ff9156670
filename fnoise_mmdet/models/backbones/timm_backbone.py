"""Models of timm as backbones of mmdet."""

import importlib
from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import InputError

INSTALL = 'pip install timm torchvision'


def import_timm() -> Any:
    """Import timm, which is an optional dependency.

    Raises:
        InputError: If it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module('timm')
    except ImportError as error:
        raise InputError(f'models of timm need the package ({error}): {INSTALL}') from error


@MODELS.register_module()
class TIMMBackbone(BaseModule):
    """A model of `timm <https://github.com/huggingface/pytorch-image-models>`_ that returns its feature pyramid.

    Args:
        model_name: Name of a model, as for ``timm.create_model``.
        out_indices: Indices of the feature levels to return, from the finest.
            Defaults to the last four, which usually have strides of 4, 8, 16 and 32.
        norm_eval: Whether batch norm uses its stored statistics in training, as
            in mmdet's ``ResNet``. Defaults to False.
        frozen_stages: Number of stages, from the first, whose weights are not
            trained, as in mmdet's ``ResNet``: the first of the model's feature
            levels and everything before it is one stage. Defaults to -1, none.
        init_cfg: Initial weights, for example
            ``dict(type='Pretrained', checkpoint='timm://tf_efficientnet_lite0')``,
            see :mod:`fnoise_mmdet.models.backbones.timm_weights`.
        **settings: Further arguments of ``timm.create_model``.

    Attributes:
        out_channels: Channels of the levels, the ``in_channels`` of a neck.
        strides: Strides of the levels in pixels of the image.

    Shape:
        Input: (B, 3, H, W). Output: one (B, C, H / stride, W / stride) per level.

    Raises:
        InputError: If timm is not installed, has no such model, or the model has no such levels.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (-4, -3, -2, -1),
        norm_eval: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(init_cfg)
        timm = import_timm()
        self.norm_eval = norm_eval
        try:
            self.timm_model = timm.create_model(
                model_name, pretrained=False, features_only=True, out_indices=tuple(out_indices), **settings
            )
        except (RuntimeError, TypeError, ValueError, AssertionError, IndexError) as error:
            near = timm.list_models(f'*{model_name.split("_")[0]}*')[:5] if not timm.is_model(model_name) else []
            hint = f'; did you mean one of {", ".join(near)}?' if near else ''
            raise InputError(f'timm cannot create {model_name!r}: {error}{hint}') from error
        self.out_channels: list[int] = self.timm_model.feature_info.channels()
        self.strides: list[int] = self.timm_model.feature_info.reduction()
        self._freeze(frozen_stages)
        self.is_channels_last = str(getattr(self.timm_model, 'output_fmt', 'NCHW')).endswith('NHWC')

    def _freeze(self, stages: int) -> None:
        """Freeze the weights up to the last one of a stage; a model defines its modules in the order of their use."""
        modules = self.timm_model.feature_info.module_name()
        if not -1 <= stages <= len(modules):
            raise InputError(f'frozen_stages must be in [-1, {len(modules)}], but got {stages}')
        if stages < 1:
            return
        prefix = f'{modules[stages - 1]}.'.replace('.', '_')  # some models join the names of nested modules
        weights = list(self.timm_model.named_parameters())
        last = max(place for place, (name, _) in enumerate(weights) if name.replace('.', '_').startswith(prefix))
        for _, weight in weights[: last + 1]:
            weight.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature levels, from the finest."""
        features: list[Tensor] = self.timm_model(x)
        if self.is_channels_last:
            return tuple(feature.permute(0, 3, 1, 2).contiguous() for feature in features)
        return tuple(features)

    def train(self, mode: bool = True) -> 'TIMMBackbone':
        """Set the mode, with the statistics of batch norm kept if ``norm_eval``, and in frozen stages."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm) and (
                self.norm_eval or (module.affine and not module.weight.requires_grad)
            ):
                module.eval()
        return self
