"""Noise as a layer of a detector: random streams of a training, calls, finite check, teachers."""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...noise import NOISES, Noise
from ...noise.base import check_features
from .call_counter import CallCounter
from .finite_check import FiniteCheck

for noise in NOISES:
    MODELS.register_module(module=noise)


class NoiseLayer(BaseModule):
    """Base class of the modules that perturb features of a detector in training.

    The noise of a level is a function of (seed, rank, iteration, call, level):
    seed and iteration are the runner's, and a call is one forward pass within
    an iteration. Recomputation by gradient checkpointing repeats the noise of
    the original pass. Outside a runner, seed and iteration are 0, and calls are
    counted without reset.

    Args:
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``,
            CCT's F-Noise.
        levels: Indices of the levels to perturb, negative ones counted from
            the last. Defaults to None, which is every level.
        check_finite: Whether to raise an error if the features contain NaN or
            Inf. Defaults to True.

    Raises:
        TypeError: If the noise is invalid, or the levels are not a list of integers.
        ValueError: If a level is given twice.
    """

    def __init__(
        self, noise: dict[str, Any] | None = None, levels: Sequence[int] | None = None, check_finite: bool = True
    ) -> None:
        super().__init__()
        self.noise = MODELS.build(noise or dict(type='FeatureNoise'))
        if not isinstance(self.noise, Noise):
            names = [cls.__name__ for cls in NOISES]
            raise TypeError(f'noise must be one of {names} or a Noise of your own, but got {noise!r}')
        self.levels = _check_levels(levels)
        self.check_finite = check_finite
        self._num_levels: int | None = None
        # Of the levels that are perturbed together.
        self._counters: defaultdict[tuple[int, ...], CallCounter] = defaultdict(CallCounter)
        self._checks: defaultdict[tuple[int, ...], FiniteCheck] = defaultdict(FiniteCheck)
        self._acts_in_evaluation = False
        self._starts: dict[tuple[int, ...], int] = {}  # first call of the view, by levels
        self._calls_of_view: dict[tuple[int, ...], int] | None = None  # whose opposite is used now, by levels
        self._opposites: dict[tuple[int, ...], int] = {}  # call whose opposite is used, by iteration, call and levels

    @property
    def place(self) -> str:
        """Place in the detector, as in a config."""
        raise NotImplementedError

    @property
    def is_of_images(self) -> bool:
        """True if the features are maps of whole images, rather than of regions or queries."""
        return True

    def preview(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the perturbed features of the first call of this iteration in training mode.

        Args:
            features: Features at the place of the noise.
        """
        raise NotImplementedError

    def is_active(self) -> bool:
        """Return whether features are perturbed now.

        A teacher, i.e. a module with only frozen parameters that runs without
        gradients, gets no noise: its targets come from clean features.
        """
        if self.noise.is_off:
            return False
        return self._acts_in_evaluation or (self.training and self.noise.training and not self._is_teacher())

    @contextlib.contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """In the block, perturb in evaluation mode, too."""
        self._acts_in_evaluation = True
        try:
            yield
        finally:
            self._acts_in_evaluation = False

    def start_view(self) -> None:
        """Start a view of one or more calls, to which :meth:`opposite` is the counterpart."""
        self._starts = self._count_calls()

    @contextlib.contextmanager
    def opposite(self) -> Iterator[None]:
        """In the block, use the opposite of the noise of the calls since :meth:`start_view`, in their order.

        Without a start, they are all calls of the iteration. See :meth:`.Noise.opposite`.
        """
        self._calls_of_view = {
            levels: calls - self._starts.get(levels, 0) for levels, calls in self._count_calls().items()
        }
        try:
            yield
        finally:
            self._calls_of_view = None

    def _count_calls(self) -> dict[tuple[int, ...], int]:
        """Return the number of calls in this iteration by levels."""
        iteration = run_info().iteration
        return {levels: counter.calls(iteration) for levels, counter in self._counters.items()}

    def finish_check(self) -> None:
        """Check the features of the last passes for NaN and Inf, if still pending.

        A forward pass on a GPU does not synchronize. Its features are checked in
        the backward pass, before the optimizer step, or else in the next pass.

        Raises:
            FloatingPointError: If a level contained NaN or Inf.
        """
        for check in self._checks.values():
            check.finish()

    def perturb(self, levels: Mapping[int, Tensor], what: str) -> list[Tensor]:
        """Perturb levels in a forward pass.

        Args:
            levels: Features to perturb by level, each (B, C, H, W).
            what: Name of the features in an error message.

        Raises:
            FloatingPointError: If a level contains NaN or Inf. On a GPU it is
                raised in the backward pass, see :meth:`finish_check`.
            TypeError: If a level is not a tensor of a floating dtype.
            ValueError: If a level is empty or not (B, C, H, W).
        """
        for level, x in levels.items():
            check_features(x, f'level {level}')
        check, counter = self._checks[tuple(levels)], self._counters[tuple(levels)]
        check.finish()
        run = run_info()
        peaks = check.new_peaks(len(levels), next(iter(levels.values())).device)
        call = counter.count(run.iteration, list(levels.values()), peaks)
        if self._calls_of_view is not None:
            self._opposites = {key: one for key, one in self._opposites.items() if key[0] == run.iteration}
            this = (run.iteration, call, *levels)
            self._opposites[this] = call - self._calls_of_view.get(tuple(levels), 0)
        perturbed = self._draw(levels, run, call, peaks)
        if self.check_finite:
            message = f'{what} are not finite in iteration {run.iteration}'
            check.defer(message, {level: x.shape for level, x in levels.items()}, peaks)
            trained = [y for y in perturbed if y.requires_grad]
            if peaks.is_cuda and trained:
                trained[-1].register_hook(lambda gradient: check.finish())
            else:
                check.finish()
        return perturbed

    def first_draw(self, levels: Mapping[int, Tensor]) -> list[Tensor]:
        """Return levels as perturbed by the first call of this iteration in training mode.

        Args:
            levels: Features to perturb by level, each (B, C, H, W).
        """
        return self._draw(levels, run_info(), 0)

    def _draw(
        self, levels: Mapping[int, Tensor], run: 'RunInfo', call: int, peaks: Tensor | None = None
    ) -> list[Tensor]:
        rank = get_rank()
        this = (run.iteration, call, *levels)
        keys = [(run.seed, rank, run.iteration, self._opposites.get(this, call), level) for level in levels]
        with self.noise.opposite() if this in self._opposites else contextlib.nullcontext():
            return self.noise._perturb_levels(list(levels.values()), keys, peaks)

    def _is_teacher(self) -> bool:
        """Return whether this layer belongs to a teacher, as in semi-supervised training.

        Disabled gradients are not sufficient: the first pass of reentrant gradient checkpointing has none either.
        """
        if torch.is_grad_enabled():
            return False
        parameters = list(self._owner().parameters())
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

    def _owner(self) -> nn.Module:
        """Return the module whose parameters tell a teacher from a student."""
        return self

    def extra_repr(self) -> str:
        return f'levels={self.levels}, check_finite={self.check_finite}'


def find_noise_layers(model: nn.Module) -> list[NoiseLayer]:
    """Return the layers with noise in module order, the student's before the teacher's."""
    return [module for module in model.modules() if isinstance(module, NoiseLayer)]


@functools.cache
def resolve_levels(levels: tuple[int, ...] | None, num_levels: int) -> tuple[int, ...]:
    """Resolve ``levels`` to sorted non-negative indices.

    Raises:
        ValueError: If a level does not exist, or is given twice.
    """
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


class RunInfo(NamedTuple):
    """Seed and iteration of a runner."""

    seed: int
    iteration: int


def run_info() -> RunInfo:
    """Return seed and iteration of the current runner, 0 outside a runner."""
    info = MessageHub.get_current_instance().runtime_info
    return RunInfo(info.get('seed', 0), info.get('iter', 0))


def _check_levels(levels: Any) -> tuple[int, ...] | None:
    if levels is None:
        return None
    if not isinstance(levels, Sequence) or not all(isinstance(level, int) for level in levels):
        raise TypeError(f'levels must be a list of integers, but got {levels!r}')
    if len(set(levels)) < len(levels):
        raise ValueError(f'levels must name each level once, but got {levels!r}')
    return tuple(levels)
