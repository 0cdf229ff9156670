"""Stateless schedules of the noise strength, as functions of the step."""

import math
from collections.abc import Sequence

from .base import in_range

SCHEDULES = ('constant', 'linear', 'cosine', 'step')


def schedule_factor(
    schedule: str,
    step: int,
    *,
    begin: int = 0,
    end: int = 0,
    start_factor: float = 0.0,
    end_factor: float = 1.0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    r"""Return the factor of the strength at a step, counted from 0.

    Before ``begin`` the factor is ``start_factor``. From ``begin`` on it is

    - ``'constant'``: ``end_factor``;
    - ``'linear'``: interpolated linearly from ``start_factor`` at ``begin`` to ``end_factor`` at ``end``;
    - ``'cosine'``: interpolated by :math:`(1 - \cos \pi t) / 2` between the same points;
    - ``'step'``: ``end_factor`` times ``gamma`` for every milestone that is reached.

    From ``end`` on, ``'linear'`` and ``'cosine'`` stay at ``end_factor``.

    Raises:
        ValueError: If the schedule is unknown.
    """
    _check_name(schedule)
    if step < begin:
        return start_factor
    if schedule == 'constant':
        return end_factor
    if schedule == 'step':
        return end_factor * gamma ** sum(step >= milestone for milestone in milestones)
    done = 1.0 if step >= end else (step - begin) / (end - begin)
    if schedule == 'cosine':
        done = (1 - math.cos(math.pi * done)) / 2
    return start_factor + (end_factor - start_factor) * done


def check_schedule(
    schedule: str,
    *,
    begin: int = 0,
    end: int | None = None,
    start_factor: float = 0.0,
    end_factor: float = 1.0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> None:
    """Check the arguments of :func:`schedule_factor`, of which ``end`` may still be unknown.

    Raises:
        ValueError: If one is unknown or out of range, or the milestones are not those of ``'step'``.
    """
    _check_name(schedule)
    if begin < 0 or (end is not None and end < begin):
        raise ValueError(f'begin must be >= 0 and end >= begin, but got begin={begin} and end={end}')
    if (schedule == 'step') != bool(milestones):
        raise ValueError(f"milestones must be given for 'step' and only then, but got {milestones!r}")
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f'milestones must increase, but got {milestones!r}')
    for name, factor in dict(start_factor=start_factor, end_factor=end_factor, gamma=gamma).items():
        in_range(name, factor, 0, 1)


def _check_name(schedule: str) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f'schedule must be one of {SCHEDULES}, but got {schedule!r}')
