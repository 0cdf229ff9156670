"""What a neck with noise remembers of its forward passes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..noise.base import measure_peaks


class Passes:
    """The forward passes within an iteration, and whether the features of the last one were finite."""

    def __init__(self) -> None:
        self._iteration = -1
        self._peaks: list[Tensor] = []  # of the levels, a tensor a pass
        self._unchecked: tuple[str, Mapping[int, Sequence[int]], OnItsWay] | None = None

    def count(self, iteration: int, xs: Sequence[Tensor], peaks: Tensor) -> int:
        """Give the number of a forward pass within its iteration, from 0.

        A pass within backward is one that gradient checkpointing repeats. It
        is known again by the largest magnitudes of its levels, the nearest
        ones taken because convolutions on a GPU may differ in the last bit.

        Args:
            iteration: The runner's.
            xs: Levels to perturb.
            peaks: Will hold their largest magnitudes as soon as they are perturbed.
        """
        if iteration != self._iteration:
            self._iteration, self._peaks = iteration, []
        if torch._C._current_graph_task_id() == -1:  # as torch.utils.checkpoint asks
            self._peaks.append(peaks)
            return len(self._peaks) - 1
        again = torch.empty_like(peaks)
        measure_peaks(xs, again)
        return int((torch.stack(self._peaks) - again).abs().sum(dim=1).argmin())

    def leave_unchecked(self, what: str, shapes: Mapping[int, Sequence[int]], peaks: Tensor) -> None:
        """Note what :meth:`check` is to look at.

        Args:
            what: What the levels are, for the message.
            shapes: Shape of each, by its index.
            peaks: Their largest magnitudes, NaN where one holds NaN; a GPU may still be at work on them.
        """
        self._unchecked = what, shapes, OnItsWay(peaks)

    def check(self) -> None:
        """Wait for the peaks that were noted, if any, and forget them.

        Raises:
            FloatingPointError: A level held NaN or Inf.
        """
        if self._unchecked is None:
            return
        (what, shapes, peaks), self._unchecked = self._unchecked, None
        found = [
            f'level {level} of shape {tuple(shape)} has {"NaN" if math.isnan(peak) else "Inf"}'
            for (level, shape), peak in zip(shapes.items(), peaks.arrive())
            if not math.isfinite(peak)
        ]
        if found:
            raise FloatingPointError(f'{what} are not finite in iteration {self._iteration}: {"; ".join(found)}')

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Passes':
        """Give one for a neck that had no passes yet: what is on its way from a GPU cannot be copied."""
        return Passes()


class OnItsWay:
    """Numbers on their way to the host: it waits for them, and not for what a GPU is told to do after them.

    Args:
        numbers: Of float32, one dimension.
    """

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers
        self._copied: torch.cuda.Event | None = None
        if numbers.is_cuda:
            self._numbers = torch.empty(numbers.shape, pin_memory=True).copy_(numbers, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(numbers.device))

    def arrive(self) -> list[float]:
        """Wait for the numbers."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._numbers.tolist()
