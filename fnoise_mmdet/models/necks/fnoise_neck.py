"""Neck wrapper that applies feature noise between backbone and neck, or after the neck."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...noise import NOISES, Noise
from ...noise.base import check_features
from ..layers.call_counter import CallCounter
from ..layers.finite_check import FiniteCheck
from ..wrapping import hide_in_state_dict

for noise in NOISES:
    MODELS.register_module(module=noise)

POSITIONS = ('pre', 'post')


@MODELS.register_module()
class FNoiseNeck(BaseModule):
    """Perturb the inputs or the outputs of a neck in training.

    In evaluation mode, or if the noise is disabled, the same tensors are passed
    on. The keys of the state dict are those of the inner neck, so checkpoints
    are interchangeable between a plain detector and one with noise.

    The noise of a level is a function of (seed, rank, iteration, call, level):
    seed and iteration are the runner's, and a call is one forward pass of the
    neck within an iteration. Recomputation by gradient checkpointing repeats
    the noise of the original pass. Outside a runner, seed and iteration are 0,
    and calls are counted without reset.

    A teacher, i.e. a neck with only frozen parameters that runs without
    gradients, gets no noise: its targets come from clean features.

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
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f'position must be one of {POSITIONS}, but got {position!r}')
        self.neck = nn.Identity() if neck is None else MODELS.build(neck)
        if any(isinstance(module, FNoiseNeck) for module in self.neck.modules()):
            raise ValueError(f'neck must be one without noise, but got {neck!r}')
        self.noise = MODELS.build(noise or dict(type='FeatureNoise'))
        if not isinstance(self.noise, Noise):
            names = [cls.__name__ for cls in NOISES]
            raise TypeError(f'noise must be one of {names} or a Noise of your own, but got {noise!r}')
        self.levels = _check_levels(levels)
        self.position = position
        self.check_finite = check_finite
        # Report a wrong level before the first batch, if the neck defines their number.
        self._num_levels = self._known_num_levels()
        if self._num_levels is not None:
            _resolve_levels(self.levels, self._num_levels)

        self._counter = CallCounter()
        self._check = FiniteCheck()
        self._is_opposite = False
        self._opposites: set[tuple[int, int]] = set()  # iteration and number of calls
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
        if not (self.training and self.noise.training) or self.noise.is_off or self._is_teacher():
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

    def preview(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the perturbed features of the first call of this iteration in training mode.

        Args:
            features: Inputs or outputs of the inner neck, depending on
                ``position``.
        """
        return self._apply_noise(features, self._levels_of(features), _run_info(), 0)

    @contextlib.contextmanager
    def opposite(self) -> Iterator[None]:
        """In the block, repeat the noise of the call before with the opposite sign (antithetic noise).

        The noise must have a ``scale`` whose sign is that of the noise, as :class:`.FeatureNoise` without bias.
        """
        self._is_opposite = True
        try:
            yield
        finally:
            self._is_opposite = False

    @torch.compiler.disable  # the noise can be compiled, but not the access to the runner
    def _perturb(self, features: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
        if isinstance(features, Tensor):
            return self._perturb([features])[0]
        levels = self._levels_of(features)
        if not levels:
            return features
        for level, x in levels.items():
            check_features(x, f'level {level}')
        self.finish_check()
        run = _run_info()
        peaks = self._check.new_peaks(len(levels), next(iter(levels.values())).device)
        call = self._counter.count(run.iteration, list(levels.values()), peaks)
        if self._is_opposite:
            self._opposites = {one for one in self._opposites if one[0] == run.iteration} | {(run.iteration, call)}
        perturbed = self._apply_noise(features, levels, run, call, peaks)
        if self.check_finite:
            which = 'inputs' if self.position == 'pre' else 'outputs'
            what = f'{which} of the neck are not finite in iteration {run.iteration}'
            self._check.defer(what, {level: x.shape for level, x in levels.items()}, peaks)
            trained = [y for y in perturbed if y.requires_grad]
            if peaks.is_cuda and trained:
                trained[-1].register_hook(lambda gradient: self.finish_check())
            else:
                self.finish_check()
        return perturbed

    def finish_check(self) -> None:
        """Check the features of the last pass for NaN and Inf, if still pending.

        A forward pass on a GPU does not synchronize. Its features are checked in
        the backward pass, before the optimizer step, or else in the next pass.

        Raises:
            FloatingPointError: If a level contained NaN or Inf.
        """
        self._check.finish()

    def _apply_noise(
        self,
        features: Sequence[Tensor],
        levels: dict[int, Tensor],
        run: '_RunInfo',
        call: int,
        peaks: Tensor | None = None,
    ) -> Sequence[Tensor]:
        rank = get_rank()
        is_opposite = (run.iteration, call) in self._opposites
        keys = [(run.seed, rank, run.iteration, call - is_opposite, level) for level in levels]
        perturbed = list(features)
        with _negated(self.noise) if is_opposite else contextlib.nullcontext():
            noisy = self.noise._perturb_levels(list(levels.values()), keys, peaks)
        for level, y in zip(levels, noisy):
            perturbed[level - self._num_levels if self._num_levels else level] = y
        return perturbed if isinstance(features, list) else tuple(perturbed)

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
        return {level: levels[level] for level in _resolve_levels(self.levels, known)}

    def _mismatch(self, features: Sequence[Tensor]) -> str:
        return f'{type(self.neck).__name__} is made for {self._num_levels} levels, but got {len(features)}'

    def _known_num_levels(self) -> int | None:
        """Return the number of levels at the position of the noise, if the inner neck defines it."""
        necks = list(self.neck) if isinstance(self.neck, nn.Sequential) else [self.neck]
        if self.position == 'post':
            return getattr(necks[-1], 'num_outs', None)
        in_channels = getattr(necks[0], 'in_channels', None)
        return len(in_channels) if isinstance(in_channels, list | tuple) else None

    def _is_teacher(self) -> bool:
        """Return whether this neck belongs to a teacher, as in semi-supervised training.

        Disabled gradients are not sufficient: the first pass of reentrant gradient checkpointing has none either.
        """
        if torch.is_grad_enabled():
            return False
        parameters = list(self.neck.parameters())
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

    def extra_repr(self) -> str:
        return f'levels={self.levels}, position={self.position!r}, check_finite={self.check_finite}'


def find_fnoise_necks(model: nn.Module) -> list[FNoiseNeck]:
    """Return the necks with noise in module order, the student's before the teacher's."""
    return [module for module in model.modules() if isinstance(module, FNoiseNeck)]


@contextlib.contextmanager
def _negated(noise: Any) -> Iterator[None]:
    """Turn the sign of a noise in the block by that of its scale."""
    noise.scale = -noise.scale
    try:
        yield
    finally:
        noise.scale = -noise.scale


class _RunInfo(NamedTuple):
    seed: int
    iteration: int


def _run_info() -> _RunInfo:
    """Return seed and iteration of the current runner, 0 outside a runner."""
    info = MessageHub.get_current_instance().runtime_info
    return _RunInfo(info.get('seed', 0), info.get('iter', 0))


@functools.cache
def _resolve_levels(levels: tuple[int, ...] | None, num_levels: int) -> tuple[int, ...]:
    """Resolve ``levels`` to sorted non-negative indices."""
    if levels is None:
        return tuple(range(num_levels))
    for level in levels:
        if not -num_levels <= level < num_levels:
            raise ValueError(
                f'levels must be in [{-num_levels}, {num_levels - 1}] for {num_levels} levels, but got {level}'
            )
    resolved = sorted({level % num_levels for level in levels})
    if len(resolved) < len(levels):
        raise ValueError(f'levels must name each of {num_levels} levels once, but got {list(levels)}')
    return tuple(resolved)


def _check_levels(levels: Any) -> tuple[int, ...] | None:
    if levels is None:
        return None
    if not isinstance(levels, Sequence) or not all(isinstance(level, int) for level in levels):
        raise TypeError(f'levels must be a list of integers, but got {levels!r}')
    if len(set(levels)) < len(levels):
        raise ValueError(f'levels must name each level once, but got {levels!r}')
    return tuple(levels)
