"""Neck wrapper that applies feature noise between backbone and neck, or after the neck."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..layers.noise_layer import NoiseLayer, resolve_levels
from ..wrapping import hide_in_state_dict

POSITIONS = ('pre', 'post')


@MODELS.register_module()
class FNoiseNeck(NoiseLayer):
    """Perturb the inputs or the outputs of a neck in training.

    In evaluation mode, or if the noise is disabled, the same tensors are passed
    on. The keys of the state dict are those of the inner neck, so checkpoints
    are interchangeable between a plain detector and one with noise.

    For the random numbers see :class:`~fnoise_mmdet.models.layers.NoiseLayer`.

    Args:
        neck: Config of the inner neck, a list of configs for a sequence of necks,
            or None for a detector without one.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``,
            CCT's F-Noise.
        levels: Indices of the levels to perturb, negative ones counted from
            the last. Defaults to None, which is every level.
        position: ``'pre'`` perturbs the inner neck's inputs, ``'post'`` its
            outputs. Defaults to ``'pre'``.
        check_finite: Whether to raise an error if the features contain NaN or
            Inf. Defaults to True.

    Shape:
        Input: sequence of (B, C_i, H_i, W_i), or a single tensor for a single level.
        Output: tuple of (B, C, H_j, W_j), as of the inner neck.

    Raises:
        TypeError: If the noise is invalid, or the levels are not a list of integers.
        ValueError: If the position is unknown, a level does not exist or is
            given twice, or the inner neck already has noise.
    """

    def __init__(
        self,
        neck: dict[str, Any] | Sequence[dict[str, Any]] | None,
        noise: dict[str, Any] | None = None,
        levels: Sequence[int] | None = None,
        position: str = 'pre',
        check_finite: bool = True,
    ) -> None:
        if position not in POSITIONS:
            raise ValueError(f'position must be one of {POSITIONS}, but got {position!r}')
        super().__init__(noise, levels, check_finite)
        self.neck = nn.Identity() if neck is None else MODELS.build(neck)
        if any(isinstance(module, NoiseLayer) for module in self.neck.modules()):
            raise ValueError(f'neck must be one without noise, but got {neck!r}')
        self.position = position
        # Report a wrong level before the first batch, if the neck defines their number.
        self._num_levels = self._known_num_levels()
        if self._num_levels is not None:
            resolve_levels(self.levels, self._num_levels)
        hide_in_state_dict(self, 'neck')

    def forward(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Run the inner neck, with noise before or after it in training mode.

        Raises:
            FloatingPointError: If a level contains NaN or Inf. On a GPU it is
                raised in the backward pass, see :meth:`finish_check`.
            TypeError: If a level is not a tensor of a floating dtype.
            ValueError: If the number of levels is not that of the inner neck,
                or a level is empty or not (B, C, H, W).
        """
        if not self.is_active():
            return self.neck(inputs)
        if self.position == 'post':
            return self._perturb(self.neck(inputs))
        perturbed = self._perturb(inputs)
        if self._num_levels in (None, len(inputs)):
            return self.neck(perturbed)
        try:
            return self.neck(perturbed)
        except AssertionError as error:
            raise ValueError(self._mismatch(inputs)) from error

    @property
    def place(self) -> str:
        return self.position

    def preview(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        levels = self._levels_of(features)
        return self._replaced(features, levels, self.first_draw(levels))

    @torch.compiler.disable  # the noise can be compiled, but not the access to the runner
    def _perturb(self, features: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
        if isinstance(features, Tensor):
            return self._perturb([features])[0]
        levels = self._levels_of(features)
        if not levels:
            return features
        which = 'inputs' if self.position == 'pre' else 'outputs'
        return self._replaced(features, levels, self.perturb(levels, f'{which} of the neck'))

    def _replaced(
        self, features: Sequence[Tensor], levels: dict[int, Tensor], perturbed: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """Return features with their perturbed levels."""
        replaced = list(features)
        for level, y in zip(levels, perturbed):
            replaced[level - self._num_levels if self._num_levels else level] = y
        return replaced if isinstance(features, list) else tuple(replaced)

    def _levels_of(self, features: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the features to perturb by level.

        If there are more features than levels of the inner neck, the last ones
        are used: mmdet's RFP takes the image before the levels, and CLRFPN
        skips fine levels.
        """
        known = self._num_levels or len(features)
        if len(features) < known:
            raise ValueError(self._mismatch(features))
        levels = features[len(features) - known :]
        return {level: levels[level] for level in resolve_levels(self.levels, known)}

    def _mismatch(self, features: Sequence[Tensor]) -> str:
        return f'{type(self.neck).__name__} is made for {self._num_levels} levels, but got {len(features)}'

    def _known_num_levels(self) -> int | None:
        """Return the number of levels at the position of the noise, if the inner neck defines it."""
        necks = list(self.neck) if isinstance(self.neck, nn.Sequential) else [self.neck]
        if self.position == 'post':
            return getattr(necks[-1], 'num_outs', None)
        in_channels = getattr(necks[0], 'in_channels', None)
        return len(in_channels) if isinstance(in_channels, list | tuple) else None

    def _owner(self) -> nn.Module:
        return self.neck

    def extra_repr(self) -> str:
        return f'levels={self.levels}, position={self.position!r}, check_finite={self.check_finite}'
