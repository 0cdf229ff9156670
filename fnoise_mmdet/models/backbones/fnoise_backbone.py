"""Backbone wrapper that applies feature noise in models without mmdet, such as torchvision's."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ...errors import did_you_mean
from ...noise import FeatureNoise, Noise
from ...noise.base import check_features
from ...noise.stream import global_key
from ..wrapping import hide_in_state_dict


class FNoiseBackbone(nn.Module):
    """Perturb the features that a backbone returns, in training only.

    In evaluation mode, or if the noise is off, the features are passed on as
    they are. The keys of the state dict are those of the backbone, so
    checkpoints are interchangeable with the model without noise.

    In mmdet, :class:`~fnoise_mmdet.FNoiseNeck` does the same by a config.

    Args:
        backbone: Returns features as a tensor, a list or tuple of levels, or a dict of them.
        noise: Noise. Defaults to None, which is :class:`~fnoise_mmdet.FeatureNoise`, CCT's F-Noise.
        levels: Levels to perturb: indices of a list, or keys of a dict. Defaults to None, which is every level.

    Shape:
        Features of level i: (B, C_i, H_i, W_i), as of the backbone.

    Raises:
        KeyError: If a level does not exist, in the forward pass.
        TypeError: If a level is not a tensor of a floating dtype, in the forward pass.
        ValueError: If a level is empty or not (B, C, H, W), or is named twice, or the features are one tensor and there
            are ``levels``, in the forward pass.

    Examples:
        F-Noise between backbone and FPN of torchvision's Mask R-CNN:

        >>> model = torchvision.models.detection.maskrcnn_resnet50_fpn()  # doctest: +SKIP
        >>> model.backbone.body = FNoiseBackbone(model.backbone.body)  # doctest: +SKIP
    """

    def __init__(
        self, backbone: nn.Module, noise: Noise | None = None, levels: Sequence[int | str] | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.noise = FeatureNoise() if noise is None else noise
        self.levels = levels
        hide_in_state_dict(self, 'backbone')

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the features of the backbone, perturbed in training mode.

        The random numbers are new in each pass, see :meth:`.Noise.forward`.
        """
        features = self.backbone(*args, **kwargs)
        if not self.training or self.noise.is_off:
            return features
        if isinstance(features, Tensor):
            if self.levels is not None:
                raise ValueError(f'levels must be None for a backbone that returns a tensor, but got {self.levels!r}')
            return self.noise(features)
        perturbed = dict(features) if isinstance(features, Mapping) else dict(enumerate(features))
        names = list(perturbed)
        levels = names if self.levels is None else [_level(level, names) for level in self.levels]
        if not levels:
            return features
        if len(set(levels)) < len(levels):
            raise ValueError(f'levels must name each level once, but got {self.levels!r}')
        for level in levels:
            check_features(perturbed[level], f'level {level}')
        key = global_key()
        keys = [(*key, names.index(level)) for level in levels]
        perturbed |= zip(levels, self.noise.perturb_levels([perturbed[level] for level in levels], keys))
        kind: Any = type(features)
        if isinstance(features, Mapping):
            return kind(perturbed)
        return getattr(kind, '_make', kind)(perturbed.values())  # that of named tuples


def _level(level: int | str, names: Sequence[int | str]) -> int | str:
    """Return the name of a level, which may be an index counted from the last."""
    if level in names:
        return level
    if isinstance(level, int) and isinstance(names[0], int) and -len(names) <= level < 0:
        return names[level]
    near = did_you_mean(str(level), map(str, names))
    raise KeyError(f'the backbone has no level {level!r}, but {list(names)}{near}')
