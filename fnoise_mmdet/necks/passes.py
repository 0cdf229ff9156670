"""What a neck with noise remembers of its forward passes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..noise.base import measure_peaks

AT_ONCE = 256  # passes for which zeros are made together: to ask a GPU for four of them takes as long as for a thousand
NOT_THERE = -1.0  # no magnitude


class Passes:
    """The forward passes within an iteration, and whether the features of the last one were finite."""

    def __init__(self) -> None:
        self._iteration = -1
        self._peaks: list[Tensor] = []  # of the levels, a tensor a pass
        self._zeros: Iterator[Tensor] = iter(())
        self._arrivals: Tensor | None = None  # where peaks come from a GPU
        self._unchecked: tuple[str, Mapping[int, Sequence[int]], Tensor] | None = None

    def begin(self, iteration: int, xs: Sequence[Tensor]) -> tuple[int, Tensor]:
        """Give the number of a forward pass within its iteration, from 0, and zeros for its peaks.

        Peaks are the largest magnitudes of the levels. By them a pass within
        backward, which gradient checkpointing repeats, is known again: the
        nearest ones are taken, because convolutions on a GPU may differ in the
        last bit.

        Args:
            iteration: The runner's.
            xs: Levels to perturb.
        """
        if iteration != self._iteration:
            self._iteration, self._peaks = iteration, []
        peaks = self._take_zeros(len(xs), xs[0].device)
        if torch._C._current_graph_task_id() == -1:  # as torch.utils.checkpoint asks
            self._peaks.append(peaks)
            return len(self._peaks) - 1, peaks
        again = torch.empty_like(peaks)
        measure_peaks(xs, again)
        return int((torch.stack(self._peaks) - again).abs().sum(dim=1).argmin()), peaks

    def leave_unchecked(self, what: str, shapes: Mapping[int, Sequence[int]], peaks: Tensor) -> None:
        """Note what :meth:`check` is to look at, and send for it without waiting.

        Args:
            what: What the levels are, for the message.
            shapes: Shape of each, by its index.
            peaks: Their largest magnitudes, NaN where one holds NaN; a GPU may still be at work on them.
        """
        if peaks.is_cuda:
            if self._arrivals is None or len(self._arrivals) != len(peaks):
                with torch.inference_mode(False):
                    self._arrivals = torch.full(peaks.shape, NOT_THERE, pin_memory=True)
            self._arrivals.copy_(peaks, non_blocking=True)
        self._unchecked = what, shapes, peaks

    def check(self) -> None:
        """Look at the peaks that were sent for, if any, and forget them. Waits for a GPU where they are not there yet.

        Raises:
            FloatingPointError: A level held NaN or Inf.
        """
        if self._unchecked is None:
            return
        (what, shapes, peaks), self._unchecked = self._unchecked, None
        values = self._arrive(peaks.device) if peaks.is_cuda else peaks.tolist()
        found = [
            f'level {level} of shape {tuple(shape)} has {"NaN" if math.isnan(peak) else "Inf"}'
            for (level, shape), peak in zip(shapes.items(), values)
            if not math.isfinite(peak)
        ]
        if found:
            raise FloatingPointError(f'{what} are not finite in iteration {self._iteration}: {"; ".join(found)}')

    def _arrive(self, device: torch.device) -> list[float]:
        assert self._arrivals is not None
        if NOT_THERE in self._arrivals.tolist():  # an event would tell as well, and take longer to record than all else
            torch.cuda.synchronize(device)
        peaks = self._arrivals.tolist()
        self._arrivals.fill_(NOT_THERE)
        return peaks

    def _take_zeros(self, count: int, device: torch.device) -> Tensor:
        zeros = next(self._zeros, None)
        if zeros is None or len(zeros) != count or zeros.device != device:
            # Each begins at a multiple of 16 bytes: for other ones Triton compiles another kernel.
            with torch.inference_mode(False):  # whatever the mode of this pass is, later ones write to them too
                many = torch.zeros(AT_ONCE, -(-count // 4) * 4, device=device)
            self._zeros = iter(many[:, :count].unbind())
            zeros = next(self._zeros)
        return zeros

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and save as one for a neck that had no passes yet: what is on its way from a GPU has one receiver."""
        return Passes, ()
