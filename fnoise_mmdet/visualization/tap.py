"""Capture of features in a forward pass of any detector, with temporary forward hooks."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..models.layers import NoiseLayer, OutputNoise, find_noise_layers
from ..models.necks import FNoiseNeck
from . import FeatureMap, without_padding
from .batch import LABELLED, Undrawable, images_of

DRAWN_LEVELS = 3


class Tap:
    """Capture the input and the output of the noise in one forward pass: the first one with noise, else the first.

    In consistency training some passes of an iteration have no noise.

    ``clean`` and ``perturbed`` are the levels, each (B, C, H, W); ``perturbed``
    is None without noise. ``padded_shape`` is the height and width of the input
    batch of the backbone, if given.

    Args:
        module: A layer with noise, or another module, whose outputs are clean.
        backbone: Module that takes the images.
    """

    def __init__(self, module: nn.Module, backbone: nn.Module | None = None) -> None:
        self.padded_shape: Sequence[int] | None = None
        self.clean: Sequence[Tensor] | None = None
        self.perturbed: Sequence[Tensor] | None = None
        self._noise = module.noise if isinstance(module, NoiseLayer) else None
        self._outputs: dict[int, tuple[Tensor, Tensor]] = {}  # of the current pass, by level
        self._has_backbone = backbone is not None
        self._captures = False  # the current pass
        self._has_captured_noise = False
        self._handles = [] if backbone is None else [backbone.register_forward_pre_hook(self._take_shape)]
        self._watched = module.watchers if isinstance(module, OutputNoise) else []
        if isinstance(module, OutputNoise):
            module.watchers.append(self._take_output)
        elif not isinstance(module, FNoiseNeck):
            self._handles += [module.register_forward_hook(self._take_clean)]
        elif module.position == 'pre':
            self._handles += [
                module.register_forward_pre_hook(self._take_clean),
                module.neck.register_forward_pre_hook(self._take_perturbed),
            ]
        else:
            self._handles += [
                module.neck.register_forward_hook(self._take_clean),
                module.register_forward_hook(self._take_perturbed),
            ]

    def _begin_pass(self) -> None:
        has_noise = self._noise is None or self._noise.training
        self._captures = self.clean is None or (has_noise and not self._has_captured_noise)
        self._has_captured_noise |= has_noise

    def _take_shape(self, backbone: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._begin_pass()
        if self._captures:
            self.padded_shape = inputs[0].shape[2:]

    # The last argument is the input of a forward pre-hook and the output of a forward hook.
    def _take_clean(self, *call: Any) -> None:
        if not self._has_backbone:
            self._begin_pass()
        if self._captures:
            self.clean = _levels(call[-1])

    def _take_perturbed(self, *call: Any) -> None:
        if self._captures:
            self.perturbed = _levels(call[-1])

    def _take_output(self, level: int, clean: Tensor, perturbed: Tensor) -> None:
        if level in self._outputs or self.clean is None:
            if not self._has_backbone:
                self._begin_pass()
            if self._captures:
                self._outputs = {}
        if self._captures:
            self._outputs[level] = clean, perturbed
            self.clean, self.perturbed = zip(*(self._outputs[one] for one in sorted(self._outputs)))

    def detach(self) -> None:
        """Remove the hooks from the model."""
        for handle in self._handles:
            handle.remove()
        if self._take_output in self._watched:
            self._watched.remove(self._take_output)


class Site(NamedTuple):
    """A detector within a model: the model itself, a student or teacher, or the ``detector`` of a tracker.

    ``name`` is empty for the model itself; ``neck`` and ``noise`` are None if absent.
    """

    name: str
    backbone: nn.Module
    neck: nn.Module | None
    noise: NoiseLayer | None

    @property
    def plain_neck(self) -> nn.Module | None:
        """The inner neck, without the noise."""
        neck = self.neck.neck if isinstance(self.neck, FNoiseNeck) else self.neck
        return None if isinstance(neck, nn.Identity) else neck

    @property
    def perturbed_part(self) -> str | None:
        """Module whose outputs are perturbed: ``'backbone'``, ``'neck'`` or None."""
        if self.noise is None:
            return None
        place = self.noise.place
        if self.noise is self.backbone:
            return 'backbone' if place == 'post' else None
        if self.noise is self.neck:
            return 'neck' if place == 'post' and self.plain_neck is not None else 'backbone'
        return None

    def tap(self, source: str) -> Tap | None:
        """Attach to the module of a source, None if the detector does not have it."""
        if source == 'neck' and (self.neck is None or self.plain_neck is None):
            return None
        if self.noise is not None and (
            source in ('noise', self.perturbed_part) or (source == 'neck' and self.perturbed_part == 'backbone')
        ):
            return Tap(self.noise, self.backbone)
        # Without noise, show the inputs of the neck.
        module = self.neck if source == 'neck' and self.neck is not None else self.backbone
        return Tap(module, self.backbone)

    def features(self, source: str, tap: Tap) -> tuple[Sequence[Tensor], Sequence[Tensor] | None]:
        """Return the captured levels of a source, clean and perturbed, each (B, C, H, W).

        In evaluation they are perturbed as in training; None without noise.
        """
        clean, perturbed = tap.clean or (), tap.perturbed
        if perturbed is None or self.noise is None:
            return clean, None
        if not self.noise.training:
            perturbed = self.noise.preview(clean)
        if source == 'neck' and self.perturbed_part == 'backbone' and self.plain_neck is not None:
            return _evaluate(self.plain_neck, clean), _evaluate(self.plain_neck, perturbed)
        # Some necks take the image before the levels.
        known = self.noise._num_levels or len(clean)
        return clean[len(clean) - known :], perturbed[len(perturbed) - known :]


def find_sites(model: nn.Module) -> list[Site]:
    """Find every detector in a model, in module order, those with noise first.

    A detector is a module with a backbone. In semi-supervised training these
    are student and teacher, in tracking the detector and the ReID model.
    """
    sites = []
    for name, module in model.named_modules():
        backbone, neck = module._modules.get('backbone'), module._modules.get('neck')
        if backbone is not None:
            noise = next((layer for layer in find_noise_layers(module) if layer.is_of_images), None)
            sites.append(Site(name, backbone, neck, noise))
    return sorted(sites, key=lambda site: site.noise is None)


def drawn_branch(model: nn.Module) -> str:
    """Return the branch of a semi-supervised batch whose images are drawn, see :meth:`.FNoiseTeacher.noisy_branch`."""
    return getattr(model, 'noisy_branch', LABELLED)


class Features(NamedTuple):
    """Captured features of one forward pass of a detector.

    ``clean`` and ``perturbed`` are the levels, each (B, C, H, W); ``perturbed``
    is None where there is no noise. ``shapes`` are the height and width of each
    image of the batch without its padding, ``padded_shape`` those with it.
    """

    site: Site
    clean: Sequence[Tensor]
    perturbed: Sequence[Tensor] | None
    shapes: Sequence[Sequence[int]]
    padded_shape: Sequence[int]

    def maps(self, index: int, levels: Sequence[int] | None = None) -> list[FeatureMap]:
        """Return the features of one image of the batch, without padding.

        Args:
            index: Index in the batch.
            levels: Indices of the levels, negative ones counted from the last.
                Defaults to None, which is every level.

        Raises:
            Undrawable: If they are not features of images, or there is no such level.
        """
        count, batch = len(self.clean), len(self.shapes)
        if not all(isinstance(x, Tensor) and x.ndim == 4 and len(x) % batch == 0 for x in self.clean):
            raise Undrawable(f'the features of {batch} images are not of the shape ({batch}, C, H, W)')
        chosen = range(count) if levels is None else levels
        for level in chosen:
            if not -count <= level < count:
                raise Undrawable(f'levels must be in [{-count}, {count - 1}] for {count} levels, but got {level}')
        maps = []
        for level in (level % count for level in chosen):
            clean, perturbed = self.clean[level], None if self.perturbed is None else self.perturbed[level]
            # Unperturbed levels are the same tensor.
            noisy = None if perturbed is None or perturbed is clean else self._cut(perturbed, index)
            maps.append(FeatureMap(level, self._cut(clean, index), noisy))
        return maps

    def drawn_maps(self, index: int, levels: Sequence[int] | None = None) -> list[FeatureMap]:
        """Return the features of one image of the batch, by default of the first three levels, see :meth:`maps`."""
        return self.maps(index, levels)[: None if levels else DRAWN_LEVELS]

    def _cut(self, features: Tensor, index: int) -> Tensor:
        return without_padding(features[index], self.shapes[index], self.padded_shape)


class FeatureTap:
    """Capture the features of every detector in a model, for one batch.

    Args:
        model: The model, without distributed wrapper.
        source: ``'noise'`` is what the noise perturbs, or would perturb before
            the neck where there is none; ``'backbone'`` and ``'neck'`` are the
            outputs of these. For noise before the neck, the neck runs twice
            without gradients in evaluation mode, on clean and on perturbed
            features; the training is not affected.
    """

    def __init__(self, model: nn.Module, source: str = 'noise') -> None:
        self.source = source
        self._branch = drawn_branch(model)
        self._samples: list[Any] | None = None
        self._taps = [(site, site.tap(source)) for site in find_sites(model)]
        preprocessor = model._modules.get('data_preprocessor')
        self._handle = None if preprocessor is None else preprocessor.register_forward_hook(self._take_samples)

    # Batch augmentation (e.g. in YOLOX) changes image shapes.
    def _take_samples(self, preprocessor: nn.Module, inputs: Any, outputs: Any) -> None:
        with contextlib.suppress(Undrawable):
            self._samples = [sample for _, sample in images_of(outputs, self._branch)]

    def detach(self) -> None:
        """Remove the hooks from the model."""
        for _, tap in self._taps:
            if tap is not None:
                tap.detach()
        if self._handle is not None:
            self._handle.remove()

    def take(self, data_batch: Any) -> Features:
        """Return the features of the first detector that ran.

        Args:
            data_batch: Batch of the data loader.

        Raises:
            Undrawable: If the batch has no images, or no detector ran.
        """
        images = images_of(data_batch, self._branch)
        samples = self._samples if self._samples is not None else [sample for _, sample in images]
        for site, tap in self._taps:
            if tap is not None and tap.clean is not None and tap.padded_shape is not None:
                clean, perturbed = site.features(self.source, tap)
                shapes = [sample.img_shape[:2] for sample in samples]
                return Features(site, clean, perturbed, shapes, tap.padded_shape)
        raise Undrawable(f'the forward pass did not use a {"neck" if self.source == "neck" else "backbone"}')


@torch.no_grad()
def _evaluate(neck: nn.Module, levels: Sequence[Tensor]) -> Sequence[Tensor]:
    """Run a neck in evaluation mode, without updating statistics or drawing random numbers."""
    modes = [(module, module.training) for module in neck.modules()]
    weights = next(neck.parameters(), None)
    if weights is not None:  # features of a mixed-precision pass
        levels = [level.to(weights.dtype) for level in levels]
    try:
        return _levels(neck.eval()(tuple(levels)))
    finally:
        for module, training in modes:
            module.training = training


def _levels(features: Any) -> Sequence[Tensor]:
    """Unpack the levels from the arguments of a forward pre-hook; a single level may be a tensor."""
    if isinstance(features, Tensor):
        return [features]
    return features if isinstance(features[0], Tensor) else features[0]
