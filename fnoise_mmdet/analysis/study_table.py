"""What a comparison has found, for a page: a row for each condition under each measure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .intervals import LEVEL, Interval, signed, t_test, told_after_holm
from .measures import AP_METRICS, ROBUST_METRICS

# In the order of a table. Time and memory are not among them: they are the machine's, and benchmarks measure them.
MEASURES = (
    *AP_METRICS,
    'val_loss',
    'loss',
    *(f'{metric}/{figure}' for figure in ('mPC', 'rPC', 'noise') for metric in ROBUST_METRICS),
)
HEAD = ['| | mean | difference | 95 % over seeds | 95 % over images |', '|---|---:|---:|---:|---:|']


class KeptStudy(NamedTuple):
    """What is shown of a ``comparison.json``: its reference, the conditions beside it, and its measures as they stand
    there.
    """

    reference: str
    conditions: list[str]
    measures: list[Mapping[str, Any]]

    def seeds(self) -> int:
        """Give the greatest number of seeds that a condition has."""
        return max((len(of_seeds) for one in self.measures for of_seeds in one['values'].values()), default=0)

    def differences(self, measure: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Give the differences of the conditions to the reference in a measure, of those that have one."""
        found = {one['condition']: one for one in measure['differences']}
        return {name: found[name] for name in self.conditions if name in found}


def read_study(path: Path, conditions: Sequence[str] = (), measures: Sequence[str] = ()) -> KeptStudy:
    """Read a ``comparison.json``, or what is to be shown of it.

    Args:
        path: The file that ``tools/compare.py`` has written.
        conditions: To show beside the reference, which is the first; all by default.
        measures: Keys of :data:`MEASURES` to show; by default those that there are.

    Raises:
        InputError: It is another file, or does not have what is asked for.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        found = {one['key']: one for one in content['measures']}
        reference, *others = content['conditions']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} is not the comparison.json of a report by tools/compare.py: {type(error).__name__}: {error}'
        ) from None
    keys = [key for key in MEASURES if key in found]
    for what, wanted, there in (('condition', conditions, others), ('measure', measures, keys)):
        for name in wanted:
            if name not in there:
                raise InputError(f'{path} has no {what} {name} to show, but {", ".join(there)}')
    return KeptStudy(
        reference,
        [name for name in others if not conditions or name in conditions],
        [found[key] for key in keys if not measures or key in measures],
    )


def study_table(study: KeptStudy) -> str:
    """Give a study as a table in Markdown, with what its figures are of and how sure they are."""
    rows = [row for measure in study.measures for row in _rows(study, measure)]
    seeds = study.seeds()
    note = (
        f'Mean ± standard deviation over {seeds} seed{"s" * (seeds != 1)}; differences to {study.reference}, paired by '
        "seed, with Student's interval over seeds and the bootstrap's over images; in bold, the interval over seeds "
        'leaves 0 out.'
    )
    return '\n'.join([*HEAD, *rows, '', f'{note}{_by_chance(study)}'])


def _rows(study: KeptStudy, measure: Mapping[str, Any]) -> list[str]:
    better = f', {measure["better"]} is better' if measure['better'] else ''
    rows = [f'| **{measure["label"]}**{better} | | | | |']
    differences = study.differences(measure)
    for name in (study.reference, *study.conditions):
        values = [value for value in measure['values'].get(name, {}).values() if value is not None]
        if not values:
            continue
        mean = f'{np.mean(values):.3f}' + (f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else '')
        cells = ['', '', '']
        if found := differences.get(name):
            over_seeds, over_images = (
                Interval(*found[key]) if found[key] else None
                for key in ('interval_seeds_t', 'interval_images_bootstrap')
            )
            amount = signed(found['mean'])
            cells = [
                f'**{amount}**' if over_seeds and over_seeds.excludes_zero() else amount,
                *(interval.in_words() if interval else '–' for interval in (over_seeds, over_images)),
            ]
        rows.append(f'| {name} | {mean} | {" | ".join(cells)} |')
    return rows


def _by_chance(study: KeptStudy) -> str:
    """Say how many differences stand out, and how many would if there were none: who looks often finds something.

    The training loss, of which neither side is better, does not count.
    """
    of_seeds = [
        list(one['by_seed'].values())
        for measure in study.measures
        if measure['better']
        for one in study.differences(measure).values()
        if len(one['by_seed']) > 1
    ]
    if len(of_seeds) < 2:
        return ''
    level = 1 - LEVEL
    found = sum(t_test(values) < level for values in of_seeds)
    kept = sum(told_after_holm(of_seeds))
    return (
        f' Of the {len(of_seeds)} differences in what has a better side, {found} leave{"s" * (found == 1)} 0 out, '
        f'where {level * len(of_seeds):.1f} would by chance alone; '
        f"{kept or 'none'} still do{'es' * (kept < 2)} after Holm's correction for their number."
    )
