"""AP and loss against the scale of the noise, where conditions differ in nothing else."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .conditions import Condition, split_noise
from .intervals import Interval, t_interval
from .measures import STUDY_MEASURES, Measure


class ScalePoint(NamedTuple):
    """A measure at one scale: the mean over seeds, and Student's 95 % interval of it, None for one seed."""

    scale: float
    condition: str
    mean: float
    interval: Interval | None
    seeds: int


class ScaleSeries(NamedTuple):
    """A measure of conditions that have the same noise at several scales; scale 0 is the plain detector."""

    measure: str
    label: str
    noise: str
    points: list[ScalePoint]


def scale_series(conditions: Sequence[Condition], measures: Sequence[Measure]) -> list[ScaleSeries]:
    """Return AP and losses over the scale, one series per measure and noise that was trained at two or more scales.

    The scale is the one that a run has recorded, whatever its folder is
    called. A condition without noise, whose other settings are the same, is
    the point at scale 0.
    """
    found = _noises(conditions)
    return [
        ScaleSeries(measure.key, measure.label, noise, points)
        for measure in measures
        if measure.key in STUDY_MEASURES
        for noise, scales in found.items()
        if len(points := [point for scale, name in scales if (point := _point(measure, scale, name))]) > 1
    ]


def _point(measure: Measure, scale: float, condition: str) -> ScalePoint | None:
    values = [value for value in measure.values.get(condition, {}).values() if np.isfinite(value)]
    return ScalePoint(scale, condition, float(np.mean(values)), t_interval(values), len(values)) if values else None


def _noises(conditions: Sequence[Condition]) -> dict[str, list[tuple[float, str]]]:
    """Return scales and conditions of every noise that several conditions have, in the order of their scales."""
    plain: dict[str, str] = {}
    groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
    names: dict[tuple[str, str], str] = {}
    for condition in conditions:
        if not condition.runs or 'config' not in condition.runs[0].record:
            continue
        settings, places = split_noise(condition.runs[0])
        others = json.dumps(settings, sort_keys=True, default=str)
        if not places:
            plain.setdefault(others, condition.name)
            continue
        noises = [dict(place['noise']) for place in places]
        scales = {noise.pop('scale', None) for noise in noises}
        scale = scales.pop()
        if scales or not isinstance(scale, int | float):
            continue  # it has several scales, or none that is recorded
        key = (
            others,
            json.dumps(
                [{**place, 'noise': noise} for place, noise in zip(places, noises)], sort_keys=True, default=str
            ),
        )
        groups.setdefault(key, []).append((float(scale), condition.name))
        names[key] = noises[0].get('preset') or noises[0]['type']
    groups = {key: found for key, found in groups.items() if len({scale for scale, _ in found if scale}) > 1}
    labelled = {}
    for key, found in groups.items():
        if key[0] in plain and all(scale for scale, _ in found):
            found.append((0.0, plain[key[0]]))
        # One noise in several places is told apart by its first condition.
        alone = [names[other] for other in groups].count(names[key]) == 1
        labelled[names[key] if alone else f'{names[key]}, as in {found[0][1]}'] = sorted(found)
    return labelled
