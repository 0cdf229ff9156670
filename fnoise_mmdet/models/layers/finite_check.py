"""Deferred check of features for NaN and Inf, without GPU synchronization."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

POOL_SIZE = 256  # zeros allocated at once: on a GPU, allocating four numbers takes as long as a thousand
PENDING = -1.0  # not a valid magnitude


class FiniteCheck:
    """Check of the maximum magnitudes (peaks) of the levels of a forward pass, deferred until they are known."""

    def __init__(self) -> None:
        self._zeros: Iterator[Tensor] = iter(())
        self._copies: Tensor | None = None  # pinned memory for peaks from a GPU
        self._deferred: tuple[str, Mapping[int, Sequence[int]], Tensor] | None = None

    def new_peaks(self, count: int, device: torch.device) -> Tensor:
        """Return ``count`` float32 zeros that no other pass uses."""
        zeros = next(self._zeros, None)
        if zeros is None or len(zeros) != count or zeros.device != device:
            # Aligned to 16 bytes, since Triton compiles another kernel otherwise.
            with torch.inference_mode(False):  # later passes outside inference mode write to them, too
                many = torch.zeros(POOL_SIZE, -(-count // 4) * 4, device=device)
            self._zeros = iter(many[:, :count].unbind())
            zeros = next(self._zeros)
        return zeros

    def defer(self, what: str, shapes: Mapping[int, Sequence[int]], peaks: Tensor) -> None:
        """Defer the check of a pass to :meth:`finish`, and start an asynchronous copy of its peaks from a GPU.

        Args:
            what: Start of the error message.
            shapes: Shapes of the levels, by index.
            peaks: Their largest magnitudes, NaN where a level holds NaN; a GPU may still be computing them.
        """
        if peaks.is_cuda:
            if self._copies is None or len(self._copies) != len(peaks):
                with torch.inference_mode(False):
                    self._copies = torch.full(peaks.shape, PENDING, pin_memory=True)
            self._copies.copy_(peaks, non_blocking=True)
        self._deferred = what, shapes, peaks

    def finish(self) -> None:
        """Finish a deferred check, if any, waiting for a GPU that is still computing the peaks.

        Raises:
            FloatingPointError: If a level contained NaN or Inf.
        """
        if self._deferred is None:
            return
        (what, shapes, peaks), self._deferred = self._deferred, None
        values = self._wait_for_copies(peaks.device) if peaks.is_cuda else peaks.tolist()
        found = [
            f'level {level} of shape {tuple(shape)} has {"NaN" if math.isnan(peak) else "Inf"}'
            for (level, shape), peak in zip(shapes.items(), values)
            if not math.isfinite(peak)
        ]
        if found:
            raise FloatingPointError(f'{what}: {"; ".join(found)}')

    def _wait_for_copies(self, device: torch.device) -> list[float]:
        assert self._copies is not None
        if PENDING in self._copies.tolist():  # recording a CUDA event would take longer than all the rest
            torch.cuda.synchronize(device)
        peaks = self._copies.tolist()
        self._copies.fill_(PENDING)
        return peaks

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a new check, since deferred peaks are read once, by their layer."""
        return FiniteCheck, ()
