"""What every noise has in common: training only, its own random stream, one gate a sample."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .stream import make_generator


class Noise(nn.Module):
    """Perturb a feature map in training mode; hand it back untouched otherwise.

    A noise holds no parameter, no buffer and no random state: the same input
    and key give the same output, and no global random stream is used. Drawing
    the random numbers (:meth:`sample`) is kept apart from applying them
    (:meth:`apply_sample`), so that a draw can be replayed.

    Args:
        prob: Probability of each sample of a batch to be perturbed; the others
            go through as they are. Defaults to 1.

    Shape:
        Input and output: (B, C, H, W), any floating dtype and memory format.

    Raises:
        ValueError: A setting is out of range.
    """

    strengths: tuple[str, ...] = ('prob',)  # settings that turn the noise off where one of them is 0

    def __init__(self, prob: float = 1.0) -> None:
        super().__init__()
        self.prob = in_range('prob', prob, 0, 1)

    @property
    def is_off(self) -> bool:
        """Whether the settings leave every input as it is."""
        return any(getattr(self, name) == 0 for name in self.strengths)

    def forward(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x`` in training mode, with the random stream named by ``key``.

        Raises:
            TypeError: ``x`` is not of a floating dtype.
            ValueError: ``x`` is not (B, C, H, W), or empty.
        """
        return self.perturb(x, key) if self.training else x

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x`` whatever the mode, as training would."""
        if self.is_off:
            return x
        check_features(x, 'features')
        sample, chosen = self._draw(x, key)
        y = self.apply_sample(x, sample)
        return y if chosen is None else torch.where(chosen, y, x)

    def perturb_levels(self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]]) -> list[Tensor]:
        """Perturb the levels of a pyramid as :meth:`perturb` does each, with the stream of its key.

        Args:
            xs: Features of each level, valid for :func:`check_features`.
            keys: Names of their streams.
        """
        return self._perturb_levels(xs, keys)

    def _perturb_levels(
        self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]], peaks: Tensor | None = None
    ) -> list[Tensor]:
        """Implement :meth:`perturb_levels` for the neck, which needs the peaks of ``xs`` from the same pass over them.

        ``peaks`` are zeros that are overwritten by :func:`measure_peaks` of ``xs``; None skips it.
        """
        if peaks is not None:
            measure_peaks(xs, peaks)
        return [self.perturb(x, key) for x, key in zip(xs, keys)]

    @torch.compiler.disable  # a generator made on the fly is no part of a graph
    def _draw(self, x: Tensor, key: Sequence[int]) -> tuple[Any, Tensor | None]:
        """Draw the numbers of the noise, and which samples get it: (B, 1, 1, 1), or None for all."""
        generator = make_generator(key, x.device)
        sample = self.sample(x, generator)
        if self.prob == 1:
            return sample, None
        return sample, torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < self.prob

    def sample(self, x: Tensor, generator: torch.Generator) -> Any:
        """Draw what :meth:`apply_sample` needs for features like ``x``, in float32."""
        raise NotImplementedError

    def apply_sample(self, x: Tensor, sample: Any) -> Tensor:
        """Perturb ``x`` with numbers drawn before."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """List every setting: the logged model is evidence."""
        names = [name for name in vars(self) if not name.startswith('_') and name not in ('training', 'prob')]
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in (*names, 'prob'))


def in_range(name: str, value: Any, low: float, high: float = float('inf')) -> float:
    """Return a setting that is a number from ``low`` to ``high``, and finite.

    Raises:
        ValueError: It is none; the message names the setting, the rule and the value.
    """
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= value <= high
        and value != float('inf')
    ):
        return value
    rule = f'>= {low} and finite' if high == float('inf') else f'in [{low}, {high}]'
    raise ValueError(f'{name} must be {rule}, but got {value!r}')


def check_features(x: Any, name: str) -> None:
    """Check that noise can be put on ``x``, which is called ``name`` in the message.

    Raises:
        TypeError: It is no tensor of a floating dtype.
        ValueError: It is not (B, C, H, W), or empty.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        what = f'a tensor of {x.dtype}' if isinstance(x, Tensor) else f'of type {type(x).__name__}'
        raise TypeError(f'{name} must be a tensor of a floating dtype, but is {what}')
    if x.ndim != 4 or x.numel() == 0:
        raise ValueError(f'{name} must have the shape (B, C, H, W), none of them 0, but has {tuple(x.shape)}')


def measure_peaks(xs: Sequence[Tensor], peaks: Tensor) -> None:
    """Write the largest magnitude of each tensor, which is NaN where one of its elements is, to ``peaks``."""
    extremes = [extreme.float() for x in xs for extreme in x.detach().aminmax()]
    peaks.copy_(torch.stack(extremes).view(-1, 2).abs().amax(1))


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` in a precision in which sums over a feature map neither overflow nor lose digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
