"""Comparison read from the ``comparison.json`` of a report, or of several reports with different seeds."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli.parser import command_for
from ..datasets.files import is_finite, read_json, require
from ..datasets.images import printable
from ..errors import InputError
from .compare import Difference, paired_difference
from .conditions import changed_settings
from .intervals import Interval
from .measures import STUDY_MEASURES, Measure


class SavedComparison(NamedTuple):
    """The conditions, of which the first is the reference, their measures, the differences to the reference, the
    settings in which the conditions differ, warnings about the runs, and the names of the files, for errors.
    """

    conditions: list[str]
    measures: list[Measure]
    differences: list[Difference]
    settings: dict[str, list[Any]]
    warnings: list[str]
    files: str = ''

    def seeds(self) -> set[int]:
        """Return the seeds that any condition has."""
        return {seed for measure in self.measures for of_seeds in measure.values.values() for seed in of_seeds}

    def by_measure(self) -> list[tuple[Measure, list[Difference]]]:
        """Return the measures, each with the differences in it."""
        return [
            (measure, [one for one in self.differences if one.measure.key == measure.key]) for measure in self.measures
        ]

    def with_conditions(self, conditions: Sequence[str]) -> 'SavedComparison':
        """Keep the reference and those of the conditions that there are, with their warnings; all without any."""
        names = [name for name in self.conditions if not conditions or name in (self.conditions[0], *conditions)]
        omitted = {name for name in self.conditions if name not in names}
        return self._replace(
            conditions=names,
            differences=[one for one in self.differences if one.condition in names],
            # Most warnings begin with the name of a run, which begins with that of its condition.
            warnings=[one for one in self.warnings if re.split('[ /:]', one)[0] not in omitted],
        )

    def showing(self, conditions: Sequence[str] = (), measures: Sequence[str] = ()) -> 'SavedComparison':
        """Return what is to be shown.

        Args:
            conditions: Conditions to show beside the reference, the first one. Defaults to all.
            measures: Keys of measures to show. Defaults to the available ones of :data:`~.measures.STUDY_MEASURES`.

        Raises:
            InputError: There is no such condition or measure.
        """
        found = {one.key: one for one in self.measures}
        for what, wanted, there in (('condition', conditions, self.conditions[1:]), ('measure', measures, found)):
            for name in wanted:
                if name not in there:
                    raise InputError(f'{self.files} has no {what} {name} to show, but {", ".join(there)}')
        study = self.with_conditions(conditions)
        keys = list(measures) or [key for key in STUDY_MEASURES if key in found]
        return study._replace(
            measures=[found[key] for key in keys],
            differences=[one for one in study.differences if one.measure.key in keys],
        )


def read_comparisons(
    paths: Sequence[Path], conditions: Sequence[str] = (), measures: Sequence[str] = ()
) -> SavedComparison:
    """Read a ``comparison.json``, or several as one study, and what is to be shown of it.

    See :func:`join_comparisons` and :meth:`SavedComparison.showing`.
    """
    return join_comparisons(paths).showing(conditions, measures)


def join_comparisons(paths: Sequence[Path]) -> SavedComparison:
    """Read a ``comparison.json``, or several as one study, with all conditions and measures.

    Each of several files has other seeds, trained on one machine: differences
    are between runs of one seed, and so of one machine. A condition may have
    fewer seeds than the reference. Measures that are not in all files are
    omitted, and so is the interval over images, which needs all detections.
    Whether all were trained alike is not checked: the files record only the
    settings in which conditions differ.

    Args:
        paths: At least one file that ``tools/compare.py`` has written.

    Raises:
        InputError: One is another file, or several are not of one study or have the same seeds.
    """
    (first, study), *others = {path: _read(path) for path in paths}.items()
    study = study._replace(files=' with '.join(map(str, paths)))
    if not others:
        return study
    for path, other in others:
        if other.conditions[0] != study.conditions[0]:
            raise InputError(
                f'{path} and {first} are not of one study: their first conditions are {other.conditions[0]} and '
                f'{study.conditions[0]}'
            )
        shared = [name for name in study.conditions if name in other.conditions]
        if differing := changed_settings(_differing(study, shared), _differing(other, shared)):
            raise InputError(
                f'{path} and {first} are not of one study: their conditions differ in other settings, '
                f'{", ".join(differing)}'
            )
        if twice := study.seeds() & other.seeds():
            raise InputError(f'{path}: seed {min(twice)} is in another file already: name only one of the two')
        study = _join(study, other)
    reference, *names = study.conditions
    found = (paired_difference(measure, reference, name) for measure in study.measures for name in names)
    return study._replace(differences=[one for one in found if one])


def _read(path: Path) -> SavedComparison:
    return read_json(path, f'is not the comparison.json of a report by {command_for("compare")}', _parse)


def _parse(content: Any) -> SavedComparison:
    conditions = list(content['conditions'])
    _require_texts('a condition', conditions)
    require(bool(conditions), 'it must have a condition')
    kept = [(_measure(one), one['differences']) for one in content['measures']]
    settings = {key: list(values) for key, values in content['settings'].items()}
    require(
        all(len(values) == len(conditions) for values in settings.values()), 'a setting must have a value per condition'
    )
    return SavedComparison(
        conditions,
        [measure for measure, _ in kept],
        [_difference(measure, one) for measure, differences in kept for one in differences],
        settings,
        list(map(str, content.get('warnings', []))),
    )


def _measure(kept: Mapping[str, Any]) -> Measure:
    """Read a measure: seeds are numbers, and null (NaN) is omitted."""
    _require_texts('key, label and better of a measure', [kept['key'], kept['label'], kept['better']])
    values = {name: _by_seed(of_seeds) for name, of_seeds in kept['values'].items()}
    return Measure(kept['key'], kept['label'], kept['better'], values)


def _by_seed(kept: Mapping[str, Any]) -> dict[int, float]:
    values = {int(seed): value for seed, value in kept.items() if value is not None}
    require(all(map(is_finite, values.values())), 'a value must be a finite number')
    return values


def _difference(measure: Measure, kept: Mapping[str, Any]) -> Difference:
    pair = kept['condition'], kept['reference']
    _require_texts('condition and reference of a difference', pair)
    require(measure.values.keys() >= {*pair}, 'a difference must be one of two conditions')
    by_seed = _by_seed(kept['by_seed'])
    require(bool(by_seed), 'a difference must have a seed')
    intervals = (_interval(kept[key]) for key in ('interval_seeds_t', 'interval_images_bootstrap'))
    return Difference(measure, *pair, by_seed, *intervals)


def _interval(kept: Any) -> Interval | None:
    if kept is None:
        return None
    low, high = kept
    require(is_finite(low) and is_finite(high), 'the bounds of an interval must be finite numbers')
    return Interval(low, high)


def _require_texts(what: str, values: Sequence[Any]) -> None:
    require(all(isinstance(value, str) and printable(value) == value for value in values), f'{what} must be text')


def _join(study: SavedComparison, other: SavedComparison) -> SavedComparison:
    conditions = list(dict.fromkeys([*study.conditions, *other.conditions]))
    measures = [
        one._replace(values={name: one.values.get(name, {}) | more.values.get(name, {}) for name in conditions})
        for one in study.measures
        for more in other.measures
        if one.key == more.key
    ]
    settings = {}
    for key in dict.fromkeys([*study.settings, *other.settings]):
        values = _by_condition(other, key) | _by_condition(study, key)
        # The conditions of a file without the setting do not differ in it, so they have the value of the reference.
        settings[key] = [values.get(name, values[conditions[0]]) for name in conditions]
    return study._replace(
        conditions=conditions,
        measures=measures,
        settings=settings,
        warnings=list(dict.fromkeys([*study.warnings, *other.warnings])),
    )


def _by_condition(study: SavedComparison, key: str) -> dict[str, Any]:
    return dict(zip(study.conditions, study.settings.get(key, ())))


def _differing(study: SavedComparison, conditions: Sequence[str]) -> dict[str, list[Any]]:
    """Return the settings in which the conditions differ.

    The first condition that has an annotation file stands for it, as every
    seed may have images of its own.
    """
    found = {}
    for key in study.settings:
        of_condition = _by_condition(study, key)
        values = [of_condition[name] for name in conditions]
        if any(value != values[0] for value in values):
            found[key] = [values.index(value) for value in values] if key.endswith('ann_file') else values
    return found
