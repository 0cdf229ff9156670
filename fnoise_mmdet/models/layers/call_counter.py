"""Counter of forward passes that recognizes recomputation by gradient checkpointing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...noise.base import measure_peaks


class CallCounter:
    """Count the calls in each iteration, from 0.

    A call within backward is a recomputation by gradient checkpointing, and gets the number of the original call. That
    one is found by the closest maximum magnitudes of the levels (peaks), because GPU convolutions may differ in the
    last bit.
    """

    def __init__(self) -> None:
        self._iteration = -1
        self._peaks: list[Tensor] = []  # one tensor per call

    def count(self, iteration: int, xs: Sequence[Tensor], peaks: Tensor) -> int:
        """Return the number of a call.

        Args:
            iteration: Iteration of the runner.
            xs: Levels to perturb.
            peaks: Buffer for the peaks of ``xs``, filled by the forward pass (see :func:`.measure_peaks`).
        """
        if iteration != self._iteration:
            self._iteration, self._peaks = iteration, []
        if torch._C._current_graph_task_id() == -1:  # not within backward; as in torch.utils.checkpoint
            self._peaks.append(peaks)
            return len(self._peaks) - 1
        repeated = torch.empty_like(peaks)
        measure_peaks(xs, repeated)
        return int((torch.stack(self._peaks) - repeated).abs().sum(dim=1).argmin())

    def calls(self, iteration: int) -> int:
        """Return the number of calls in an iteration so far."""
        return len(self._peaks) if iteration == self._iteration else 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a new counter, since calls belong to one layer in one process."""
        return CallCounter, ()
