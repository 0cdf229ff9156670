"""What a neck with noise remembers of its forward passes."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..noise.base import measure_peaks


class Passes:
    """The forward passes within an iteration, and whether the features of the last one were finite."""

    def __init__(self) -> None:
        self._iteration = -1
        self._peaks: list[Tensor] = []  # of the levels, a tensor a pass
        self._check: FiniteCheck | None = None  # whose result is still to be waited for

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

    def begin_check(self, what: str, levels: Mapping[int, Tensor], peaks: Tensor) -> None:
        """Begin to look whether levels, which are called ``what`` in the message, are finite by their peaks."""
        shapes = {level: tuple(x.shape) for level, x in levels.items()}
        self._check = FiniteCheck(peaks, shapes, f'{what} in iteration {self._iteration}')

    def finish_check(self) -> None:
        """Wait for what the last check has found, if nobody did so far.

        Raises:
            FloatingPointError: A level held NaN or Inf.
        """
        check, self._check = self._check, None
        if check is not None:
            check.finish()


class FiniteCheck:
    """Bring the largest magnitudes of levels to the host while other work goes on, and tell of NaN and Inf among them.

    Args:
        peaks: Largest magnitude of each level, NaN where it holds NaN.
        shapes: Shape of each level, by its index.
        what: What the levels are, for the message.

    Shape:
        peaks: (levels,).
    """

    def __init__(self, peaks: Tensor, shapes: Mapping[int, tuple[int, ...]], what: str) -> None:
        self._shapes = shapes
        self._what = what
        self._peaks = peaks
        self._copied: torch.cuda.Event | None = None
        if peaks.is_cuda:
            self._peaks = torch.empty(peaks.shape, pin_memory=True).copy_(peaks, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(peaks.device))

    def finish(self) -> None:
        """Wait for the magnitudes.

        Raises:
            FloatingPointError: A level holds NaN or Inf.
        """
        if self._copied is not None:
            self._copied.synchronize()
        found = [
            f'level {level} of shape {shape} has {"NaN" if math.isnan(peak) else "Inf"}'
            for (level, shape), peak in zip(self._shapes.items(), self._peaks.tolist())
            if not math.isfinite(peak)
        ]
        if found:
            raise FloatingPointError(f'{self._what} are not finite: {"; ".join(found)}')
