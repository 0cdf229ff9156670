"""AP and loss against the scale of the noise, for conditions that differ in it alone."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .conditions import Condition, split_noise
from .intervals import Interval, t_interval
from .measures import STUDY_MEASURES, Measure


class ScalePoint(NamedTuple):
    """A measure at one scale: mean over seeds and its 95 % confidence interval (Student's t), None for one seed."""

    scale: float
    condition: str
    mean: float
    interval: Interval | None
    seeds: int


class ScaleSeries(NamedTuple):
    """A measure for the same noise at several scales; scale 0 is the plain detector."""

    measure: str
    label: str
    noise: str
    points: list[ScalePoint]


def scale_series(conditions: Sequence[Condition], measures: Sequence[Measure]) -> list[ScaleSeries]:
    """Return AP and losses over the scale, one series per measure and noise with two or more scales.

    The scale is read from the recorded config, not from the folder name. A
    condition without noise but with the same other settings is the point at scale 0.
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
    """Return (scale, condition) pairs of every noise with several scales, sorted by scale."""
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
            continue  # several scales, or none recorded
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
        # The same noise at several places is labelled by its first condition.
        alone = [names[other] for other in groups].count(names[key]) == 1
        labelled[names[key] if alone else f'{names[key]}, as in {found[0][1]}'] = sorted(found)
    return labelled
