"""What a comparison has found, as a table for a page: a row for each condition under each measure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .intervals import Interval, signed
from .measures import AP_METRICS, ROBUST_METRICS

# In the order of a table. Time and memory are not among them: they are the machine's, and benchmarks measure them.
MEASURES = (
    *AP_METRICS,
    'val_loss',
    'loss',
    *(f'{metric}/{figure}' for figure in ('mPC', 'rPC', 'noise') for metric in ROBUST_METRICS),
)
HEAD = ['| | mean | difference | 95 % over seeds | 95 % over images |', '|---|---:|---:|---:|---:|']


def study_table(path: Path, conditions: Sequence[str] = (), measures: Sequence[str] = ()) -> str:
    """Give the figures of a ``comparison.json`` as a table in Markdown, with what they are of and how sure they are.

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
    shown = [name for name in others if not conditions or name in conditions]
    rows = [row for key in keys if not measures or key in measures for row in _rows(found[key], reference, shown)]
    seeds = max((len(of_seeds) for one in found.values() for of_seeds in one['values'].values()), default=0)
    note = (
        f'Mean ± standard deviation over {seeds} seed{"s" * (seeds != 1)}; differences to {reference}, paired by seed, '
        "with Student's interval over seeds and the bootstrap's over images; in bold, the interval over seeds leaves 0 "
        'out.'
    )
    return '\n'.join([*HEAD, *rows, '', note])


def _rows(measure: Mapping[str, Any], reference: str, shown: Sequence[str]) -> list[str]:
    better = f', {measure["better"]} is better' if measure['better'] else ''
    rows = [f'| **{measure["label"]}**{better} | | | | |']
    differences = {one['condition']: one for one in measure['differences']}
    for name in (reference, *shown):
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
