"""Detectors with noise at other places than the neck."""

from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS
from torch import nn

from ..layers import OutputNoise, find_noise_layers


@MODELS.register_module()
def FNoiseDetector(
    detector: dict[str, Any],
    place: str = 'stage',
    noise: dict[str, Any] | None = None,
    levels: Sequence[int] | None = None,
    check_finite: bool = True,
) -> nn.Module:
    """Build a detector whose features are perturbed in training, at any place.

    It is the detector of the config itself, with a forward hook on the modules
    whose outputs get noise. In evaluation mode, or if the noise is disabled,
    they return the same tensors; state dict and checkpoint are those without
    noise. :class:`~fnoise_mmdet.FNoiseNeck` is noise before or after the neck.

    mmdet's ``init_detector`` expects the backbone in ``model`` itself: call it with ``cfg_options={}``, or with the
    config of the plain detector, which takes the same checkpoint.

    Args:
        detector: Config of the detector.
        place: ``'stage'``: the outputs of the backbone's stages, so that later stages see the noise;
            ``'roi'``: RoI features of the box and mask heads; ``'query'``: the
            encoder memory of a DETR; or the name of a module, such as
            ``'backbone.layer1'``. Defaults to ``'stage'``.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``, CCT's F-Noise.
        levels: Indices of the modules of the place, negative ones counted from
            the last: stages from the finest; RoI extractors of boxes, then of
            masks. Defaults to None, which is every one.
        check_finite: Whether to raise an error if the features contain NaN or
            Inf. Defaults to True.

    Returns:
        The detector.

    Shape:
        Features: (B, C, H, W); of regions (N, C, H, W); or tokens (B, L, C), which the noise sees as (B, C, L, 1).

    Raises:
        TypeError: If the noise is invalid, or the levels are not a list of integers.
        ValueError: If the detector has no such place, already has noise, or a
            level does not exist or is given twice.
    """
    built = MODELS.build(detector)
    if find_noise_layers(built):
        raise ValueError('detector must be one without noise')
    built.output_noise = OutputNoise(built, place, noise, levels, check_finite)
    return built
