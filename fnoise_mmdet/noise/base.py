"""Base class of all noises: training only, own random stream, applied per sample with a probability."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .stream import global_key, make_generator


class Noise(nn.Module):
    """Perturb a feature map in training mode, and return the same tensor otherwise.

    A noise has no parameters, buffers or random state: the same input and key
    give the same output, without a global random stream; without a key, it is
    drawn from torch's. Sampling
    (:meth:`sample`) is separate from application (:meth:`apply_sample`), so
    that a draw can be replayed.

    Args:
        prob: Probability of each sample of a batch to be perturbed; the others
            are unchanged. Defaults to 1.

    Shape:
        Input and output: (B, C, H, W), any floating dtype and memory format.

    Raises:
        ValueError: If a setting is out of range.
    """

    strengths: tuple[str, ...] = ('prob',)  # settings that disable the noise if one of them is 0

    def __init__(self, prob: float = 1.0) -> None:
        super().__init__()
        self.prob = in_range('prob', prob, 0, 1)
        self._is_opposite = False

    @property
    def is_off(self) -> bool:
        """True if the settings disable the noise."""
        return any(getattr(self, name) == 0 for name in self.strengths)

    @property
    def has_opposite(self) -> bool:
        """True if each draw has an opposite one, see :meth:`opposite`."""
        return False

    @contextlib.contextmanager
    def opposite(self) -> Iterator[None]:
        """In the block, perturb by the opposite of each draw, such as -n for additive noise n."""
        self._is_opposite = True
        try:
            yield
        finally:
            self._is_opposite = False

    def forward(self, x: Tensor, key: Sequence[int] | None = None) -> Tensor:
        """Perturb ``x`` in training mode, with the random stream named by ``key``.

        Args:
            x: Features.
            key: Non-negative integers; the same give the same random numbers. Defaults to None,
                which takes a key from torch's global stream, so that calls differ and
                ``torch.manual_seed`` repeats them, as for dropout.

        Raises:
            TypeError: If ``x`` is not of a floating dtype.
            ValueError: If ``x`` is not (B, C, H, W), or empty.
        """
        if not self.training or self.is_off:
            return x
        return self.perturb(x, global_key() if key is None else key)

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x`` as in training, regardless of the mode."""
        if self.is_off:
            return x
        check_features(x, 'features')
        sample, chosen = self._draw(x, key)
        y = self.apply_sample(x, sample)
        return y if chosen is None else torch.where(chosen, y, x)

    def perturb_levels(self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]]) -> list[Tensor]:
        """Perturb the levels of a pyramid, each like :meth:`perturb` with its key.

        Args:
            xs: Features of each level, checked by :func:`check_features`.
            keys: Keys of their random streams.
        """
        return self._perturb_levels(xs, keys)

    def _perturb_levels(
        self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]], peaks: Tensor | None = None
    ) -> list[Tensor]:
        """Implement :meth:`perturb_levels`, and measure the peaks of ``xs`` in the same pass, for the neck.

        ``peaks`` are zeros that are overwritten by :func:`measure_peaks` of ``xs``; None skips it.
        """
        if peaks is not None:
            measure_peaks(xs, peaks)
        return [self.perturb(x, key) for x, key in zip(xs, keys)]

    @torch.compiler.disable  # a generator created on the fly cannot be traced
    def _draw(self, x: Tensor, key: Sequence[int]) -> tuple[Any, Tensor | None]:
        """Draw the random numbers, and the mask of perturbed samples, (B, 1, 1, 1), or None for all."""
        generator = make_generator(key, x.device)
        sample = self.sample(x, generator)
        if self.prob == 1:
            return sample, None
        return sample, torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < self.prob

    def sample(self, x: Tensor, generator: torch.Generator) -> Any:
        """Draw the random numbers of :meth:`apply_sample` for features like ``x``, in float32."""
        raise NotImplementedError

    def apply_sample(self, x: Tensor, sample: Any) -> Tensor:
        """Perturb ``x`` with a given draw."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """List every setting, so that the logged model documents them."""
        return ', '.join(f'{name}={value!r}' for name, value in self._settings().items())

    def describe(self) -> str:
        """Return name and settings in words, e.g. for the caption of a picture."""
        return f'{type(self).__name__}: ' + ', '.join(_in_words(*setting) for setting in self._settings().items())

    def _settings(self) -> dict[str, Any]:
        """Return every setting, ``prob`` last."""
        names = [name for name in vars(self) if not name.startswith('_') and name not in ('training', 'prob')]
        return {name: getattr(self, name) for name in (*names, 'prob')}


def _in_words(name: str, value: Any) -> str:
    """Return a setting in words: ``share batch and channel``, ``scale 0.3``, ``detach statistics``."""
    words = name.replace('_', ' ')
    if isinstance(value, bool):
        return words if value else f'no {words}'
    if isinstance(value, list | tuple):
        value = ' and '.join(map(str, value)) or 'none'
    return f'{words} {value:g}' if isinstance(value, float) else f'{words} {value}'


def in_range(name: str, value: Any, low: float, high: float = float('inf')) -> float:
    """Return a setting after checking that it is a finite number from ``low`` to ``high``.

    Raises:
        ValueError: If it is not.
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
    """Check that noise can be applied to ``x``, called ``name`` in the message.

    Raises:
        TypeError: If it is not a tensor of a floating dtype.
        ValueError: If it is not (B, C, H, W), or empty.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        what = f'a tensor of {x.dtype}' if isinstance(x, Tensor) else f'of type {type(x).__name__}'
        raise TypeError(f'{name} must be a tensor of a floating dtype, but is {what}')
    if x.ndim != 4 or x.numel() == 0:
        raise ValueError(f'{name} must have a non-empty shape (B, C, H, W), but has {tuple(x.shape)}')


def measure_peaks(xs: Sequence[Tensor], peaks: Tensor) -> None:
    """Write the maximum magnitude of each tensor to ``peaks``, NaN if it contains NaN."""
    extremes = [extreme.float() for x in xs for extreme in x.detach().aminmax()]
    peaks.copy_(torch.stack(extremes).view(-1, 2).abs().amax(1))


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` in a precision that is sufficient for sums over a feature map."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
