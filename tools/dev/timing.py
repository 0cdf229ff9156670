"""Paired timing of functions in one process."""

import contextlib
import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from fnoise_mmdet.datasets.files import write_atomically
from fnoise_mmdet.engine.environment import environment

BUSY_CYCLES = 20_000_000  # GPU cycles, about 10 ms
BUSY_PERCENT = 15


@dataclass(frozen=True)
class Timing:
    """Timing of one subject: seconds, and ratios to the reference.

    Args:
        median: Median time.
        low: Lower quartile of the times.
        high: Upper quartile of the times.
        ratio: Median of the ratios to the reference in the same round.
        ratio_low: Lower quartile of these ratios.
        ratio_high: Upper quartile of these ratios.
        rounds: Number of rounds.
    """

    median: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int


def wall_clock(subject: Callable[[], Any]) -> float:
    """Return the seconds from the call of a subject to its end, with GPU synchronization."""
    _synchronize()
    start = time.perf_counter()
    subject()
    _synchronize()
    return time.perf_counter() - start


def gpu_clock(subject: Callable[[], Any]) -> float:
    """Return the GPU time of a subject in seconds, without launch overhead.

    The GPU is kept busy until the subject is queued, as in a training, where
    the backbone is queued before the noise. Synchronization inside the subject
    is included.
    """
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(BUSY_CYCLES)
    begin.record()
    subject()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3


def interleave(
    subjects: Mapping[str, Callable[[], Any]],
    rounds: int,
    warmup: int = 2,
    progress: Callable[..., Iterable[int]] = lambda items, *_: items,
    clock: Callable[[Callable[[], Any]], float] = wall_clock,
) -> dict[str, list[float]]:
    """Time each subject once per round, so that other load on the machine affects all alike.

    Garbage is collected only between rounds, as in :mod:`timeit`.

    Args:
        subjects: Functions to time, by name.
        rounds: Number of rounds, every second one in reverse order.
        warmup: Number of warm-up rounds.
        progress: Wraps the loop over rounds, given a label.
        clock: Calls a subject and returns the seconds that it took.

    Returns:
        Seconds by name, in the order of the rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in subjects}
    with _no_collection():
        for number in progress(range(-warmup, rounds), 'rounds'):
            gc.collect()
            for name in list(subjects) if number % 2 else reversed(list(subjects)):
                seconds = clock(subjects[name])
                if number >= 0:
                    times[name].append(seconds)
    return times


def summarize(times: Mapping[str, list[float]], reference: str) -> dict[str, Timing]:
    """Return medians and quartiles of times, and of their ratios to a reference in the same round.

    Raises:
        ValueError: If there are fewer than two rounds.
    """
    summaries = {}
    for name, seconds in times.items():
        ratios = [one / other for one, other in zip(seconds, times[reference])]
        low, median, high = statistics.quantiles(seconds, n=4, method='inclusive')
        ratio_low, ratio, ratio_high = statistics.quantiles(ratios, n=4, method='inclusive')
        summaries[name] = Timing(median, low, high, ratio, ratio_low, ratio_high, len(seconds))
    return summaries


def median_error(low: float, high: float, rounds: int) -> float:
    """Return the half-width of the 95 % confidence interval of a median, estimated from the quartiles.

    For n normal values, the standard error of the median is sqrt(pi / 2n) standard deviations, and the quartiles are
    1.349 standard deviations apart.
    """
    return 1.96 * (math.pi / 2 / rounds) ** 0.5 * (high - low) / 1.349


def kept_bytes(forward: Callable[[], Any], known: Iterable[torch.Tensor]) -> int:
    """Return the bytes that a forward pass saves for backward, except existing tensors."""
    storages = {tensor.untyped_storage().data_ptr(): 0 for tensor in known}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        kept.append(tensor)  # so that its memory is not reused
        return tensor

    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return sum(storages.values())


def warn_if_busy() -> None:
    """Print a warning where other processes use this machine, as they disturb what is timed."""
    used = psutil.cpu_percent(interval=1)
    if used > BUSY_PERCENT:
        print(
            f'warning: other processes use {used:.0f} % of the processors, so times vary and ratios are uncertain: '
            'measure with nothing beside it',
            flush=True,
        )


def write_results(path: Path, command: str, settings: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write results with machine and versions as JSON, in seconds, ratios and bytes."""
    content = dict(
        command=command,
        settings=dict(settings),
        environment=environment(),
        results={name: asdict(one) if isinstance(one, Timing) else one for name, one in results.items()},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=1) + '\n').encode())


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Disable automatic garbage collection, and freeze existing objects, which take long to traverse."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
