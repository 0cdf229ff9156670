"""The check for NaN and Inf, which does not make Python wait for a GPU."""

import math

import torch
from torch import Tensor


class FiniteCheck:
    """Bring the largest magnitudes of levels to the host while other work goes on, and tell of NaN and Inf among them.

    Args:
        peaks: Largest magnitude of each level, NaN where it holds NaN.
        shapes: Shape of each level, by its index.
        where: What holds the levels, for the message.

    Shape:
        peaks: (levels,).
    """

    def __init__(self, peaks: Tensor, shapes: dict[int, tuple[int, ...]], where: str) -> None:
        self._shapes = shapes
        self._where = where
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
            raise FloatingPointError(f'{self._where} are not finite: {"; ".join(found)}')
