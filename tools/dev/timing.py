"""Timing things against one another, side by side in one process."""

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

import torch

from fnoise_mmdet.datasets.files import write_atomically
from fnoise_mmdet.engine.environment import environment

BUSY_CYCLES = 20_000_000  # of a GPU, 10 ms or so


@dataclass(frozen=True)
class Timing:
    """What was measured of one thing: seconds, and ratios to the reference.

    Args:
        median: Of its times.
        low: The quarter of its times that is fastest ends here.
        high: The quarter of its times that is slowest begins here.
        ratio: Median of the ratios to the reference in the same round.
        ratio_low: Lower quartile of these ratios.
        ratio_high: Upper quartile of these ratios.
        rounds: How often it was measured.
    """

    median: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int


def wall_clock(subject: Callable[[], Any]) -> float:
    """Return the seconds from the call of a subject to the end of all it does, on a GPU too."""
    _synchronize()
    start = time.perf_counter()
    subject()
    _synchronize()
    return time.perf_counter() - start


def gpu_clock(subject: Callable[[], Any]) -> float:
    """Return the seconds that a GPU works on a subject, apart from the time that it takes to be called.

    The GPU is kept busy until the subject is in its queue, as in a training,
    where the work of the backbone lies before that of the noise. Where the
    subject itself waits for the GPU, that time counts.
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
    """Time each subject once a round, so that what else the machine does meets all of them alike.

    Python's garbage is collected between rounds and not within, as in :mod:`timeit`.

    Args:
        subjects: What to time, by name.
        rounds: How often; every second round goes backwards, for no subject to come always after the same other.
        warmup: Rounds before, which do not count.
        progress: Wraps the loop over rounds, with a label to show.
        clock: Calls a subject and gives the seconds that it took.

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
    """Bring times to medians and quartiles, and to ratios to those of a reference in the same round.

    Raises:
        ValueError: There are fewer than two rounds.
    """
    summaries = {}
    for name, seconds in times.items():
        ratios = [one / other for one, other in zip(seconds, times[reference])]
        low, median, high = statistics.quantiles(seconds, n=4, method='inclusive')
        ratio_low, ratio, ratio_high = statistics.quantiles(ratios, n=4, method='inclusive')
        summaries[name] = Timing(median, low, high, ratio, ratio_low, ratio_high, len(seconds))
    return summaries


def median_error(low: float, high: float, rounds: int) -> float:
    """Return how far a median may be off, from the quartiles: half of an interval of about 95 %.

    The median of n normal numbers has a standard error of sqrt(pi / 2n) of their standard deviation, and their
    quartiles are 1.349 standard deviations apart.
    """
    return 1.96 * (math.pi / 2 / rounds) ** 0.5 * (high - low) / 1.349


def kept_bytes(forward: Callable[[], Any], known: Iterable[torch.Tensor]) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, beyond tensors that are there anyway."""
    storages = {tensor.untyped_storage().data_ptr(): 0 for tensor in known}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        kept.append(tensor)  # so that no other tensor takes its place in memory
        return tensor

    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return sum(storages.values())


def write_results(path: Path, command: str, settings: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write what was measured, with the machine and the versions, as JSON; numbers are seconds, ratios and bytes."""
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
    """Collect garbage when asked alone, and not look through all that is there now, which takes long."""
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
