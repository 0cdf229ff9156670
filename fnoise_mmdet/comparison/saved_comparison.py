"""Comparison read from the ``comparison.json`` of a report, or of several reports with different seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli.parser import command_for
from ..errors import InputError
from .compare import Difference, paired_difference
from .conditions import changed_settings
from .intervals import Interval
from .measures import STUDY_MEASURES, Measure


class SavedComparison(NamedTuple):
    """The conditions, of which the first is the reference, their measures, the differences to the reference, the
    settings in which the conditions differ, and warnings about the runs.
    """

    conditions: list[str]
    measures: list[Measure]
    differences: list[Difference]
    settings: dict[str, list[Any]]
    warnings: list[str]

    def seeds(self) -> set[int]:
        """Return the seeds that any condition has."""
        return {seed for measure in self.measures for of_seeds in measure.values.values() for seed in of_seeds}


def read_comparisons(
    paths: Sequence[Path], conditions: Sequence[str] = (), measures: Sequence[str] = ()
) -> SavedComparison:
    """Read a ``comparison.json``, or several as one study.

    Each of several files has other seeds, trained on one machine: differences
    are between runs of one seed, and so of one machine. Measures that are not
    in all files are omitted, and so is the interval over images, which needs
    all detections. Whether all were trained alike is not checked: the files
    record only the settings in which conditions differ.

    Args:
        paths: At least one file that ``tools/compare.py`` has written.
        conditions: Conditions to show beside the reference, the first one. Defaults to all.
        measures: Keys of measures to show. Defaults to the available ones of :data:`~.measures.STUDY_MEASURES`.

    Raises:
        InputError: One is another file, several are not of one study or have
            the same seeds, or they do not have what is asked for.
    """
    study = _join({path: _read(path) for path in paths})
    reference, *others = study.conditions
    found = {one.key: one for one in study.measures}
    for what, wanted, there in (('condition', conditions, others), ('measure', measures, found)):
        for name in wanted:
            if name not in there:
                files = ' with '.join(map(str, paths))
                raise InputError(f'{files} has no {what} {name} to show, but {", ".join(there)}')
    names = [name for name in others if not conditions or name in conditions]
    keys = list(measures) or [key for key in STUDY_MEASURES if key in found]
    return study._replace(
        conditions=[reference, *names],
        measures=[found[key] for key in keys],
        differences=[one for one in study.differences if one.condition in names and one.measure.key in keys],
    )


def _read(path: Path) -> SavedComparison:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        kept = [(_measure(one), one['differences']) for one in content['measures']]
        return SavedComparison(
            list(content['conditions']),
            [measure for measure, _ in kept],
            [_difference(measure, one) for measure, differences in kept for one in differences],
            {key: list(values) for key, values in content['settings'].items()},
            list(map(str, content.get('warnings', []))),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f'{path} is not the comparison.json of a report by {command_for("compare")}: '
            f'{type(error).__name__}: {error}'
        ) from None


def _measure(kept: Mapping[str, Any]) -> Measure:
    """Read a measure: seeds are numbers, and null (NaN) is omitted."""
    values = {
        name: {int(seed): value for seed, value in of_seeds.items() if value is not None}
        for name, of_seeds in kept['values'].items()
    }
    return Measure(kept['key'], kept['label'], kept['better'], values)


def _difference(measure: Measure, kept: Mapping[str, Any]) -> Difference:
    intervals = (
        Interval(*kept[key]) if kept[key] else None for key in ('interval_seeds_t', 'interval_images_bootstrap')
    )
    by_seed = {int(seed): value for seed, value in kept['by_seed'].items()}
    return Difference(measure, kept['condition'], kept['reference'], by_seed, *intervals)


def _join(studies: Mapping[Path, SavedComparison]) -> SavedComparison:
    """Join studies of the same conditions with different seeds."""
    (first, study), *others = studies.items()
    if not others:
        return study
    for path, other in others:
        if other.conditions != study.conditions:
            raise InputError(
                f'{path} and {first} are not of one study: their conditions are {", ".join(other.conditions)} and '
                f'{", ".join(study.conditions)}'
            )
        if differing := changed_settings(_without_file_names(study.settings), _without_file_names(other.settings)):
            raise InputError(
                f'{path} and {first} are not of one study: their conditions differ in other settings, '
                f'{", ".join(differing)}'
            )
        if twice := study.seeds() & other.seeds():
            raise InputError(f'{path}: seed {min(twice)} is in another file already: name only one of the two')
        measures = [_join_values(one, more) for one in study.measures for more in other.measures if one.key == more.key]
        study = study._replace(measures=measures, warnings=[*study.warnings, *other.warnings])
    reference, *names = study.conditions
    found = (paired_difference(measure, reference, name) for measure in study.measures for name in names)
    return study._replace(differences=[one for one in found if one])


def _without_file_names(settings: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Replace each annotation file by the first condition that has it: every seed may have images of its own."""
    return {
        key: [values.index(value) for value in values] if key.endswith('ann_file') else values
        for key, values in settings.items()
    }


def _join_values(one: Measure, other: Measure) -> Measure:
    return one._replace(values={name: of_seeds | other.values[name] for name, of_seeds in one.values.items()})
