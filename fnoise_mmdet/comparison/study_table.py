"""What a comparison has found, for a page: a row for each condition under each measure."""

from collections.abc import Iterator, Sequence

from ..visualization.markup import escape_markdown
from .intervals import LEVEL, signed, t_test, told_after_holm
from .measures import Measure
from .saved_comparison import SavedComparison


def study_table(study: SavedComparison) -> str:
    """Return a study as a table in Markdown, with what its figures are of and how sure they are."""
    over_images = any(one.images for one in study.differences)
    head = ['', 'mean', 'difference', '95 % over seeds', *(['95 % over images'] if over_images else [])]
    lines = [_line(head), f'|---|{"---:|" * (len(head) - 1)}']
    for measure in study.measures:
        better = f', {measure.better} is better' if measure.better else ''
        lines.append(_line([f'**{measure.label}**{better}', *[''] * (len(head) - 1)]))
        lines += [_line(row[: len(head)]) for row in _rows(study, measure)]
    seeds = len(study.seeds())
    intervals = "Student's interval over seeds" + " and the bootstrap's over images" * over_images
    reference = escape_markdown(study.conditions[0])
    note = (
        f'Mean ± standard deviation over {seeds} seed{"s" * (seeds != 1)}; differences to {reference}, '
        f'paired by seed, with {intervals}; in bold, the interval over seeds leaves 0 out.'
    )
    return '\n'.join([*lines, '', f'{note}{_by_chance(study)}'])


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _rows(study: SavedComparison, measure: Measure) -> Iterator[list[str]]:
    differences = study.differences_in(measure)
    for name in study.conditions:
        mean, deviation = measure.mean(name), measure.deviation(name)
        if mean is None:
            continue
        cells = ['', '', '']
        if found := differences.get(name):
            amount = signed(found.mean)
            cells = [
                f'**{amount}**' if found.seeds and found.seeds.excludes_zero() else amount,
                *(interval.in_words() if interval else '–' for interval in (found.seeds, found.images)),
            ]
        yield [escape_markdown(name), f'{mean:.3f}' + (f' ± {deviation:.3f}' if deviation is not None else ''), *cells]


def _by_chance(study: SavedComparison) -> str:
    """Say how many differences stand out, and how many would if there were none: who looks often finds something.

    The training loss, of which neither side is better, does not count.
    """
    of_seeds = [list(one.by_seed.values()) for one in study.differences if one.measure.better and len(one.by_seed) > 1]
    if len(of_seeds) < 2:
        return ''
    level = 1 - LEVEL
    found = sum(t_test(values) < level for values in of_seeds)
    kept = sum(told_after_holm(of_seeds))
    return (
        f' Of the {len(of_seeds)} differences in what has a better side, {found or "none"} leave{"s" * (found < 2)} 0 '
        f'out, where {level * len(of_seeds):.1f} would by chance alone; '
        f"{kept or 'none'} still do{'es' * (kept < 2)} after Holm's correction for their number."
    )
