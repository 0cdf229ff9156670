"""Table of a comparison in Markdown: one row per condition under each measure."""

from collections.abc import Iterator, Sequence

from ..visualization.markup import escape_markdown
from .intervals import LEVEL, signed, significant_after_holm, t_test
from .measures import Measure
from .saved_comparison import SavedComparison


def study_table(study: SavedComparison) -> str:
    """Return a study as a Markdown table with a note on its statistics."""
    over_images = any(one.images for one in study.differences)
    head = ['', 'mean', 'difference', '95 % CI over seeds', *(['95 % CI over images'] if over_images else [])]
    lines = [_line(head), f'|---|{"---:|" * (len(head) - 1)}']
    for measure in study.measures:
        better = f', {measure.better} is better' if measure.better else ''
        lines.append(_line([f'**{measure.label}**{better}', *[''] * (len(head) - 1)]))
        lines += [_line(row[: len(head)]) for row in _rows(study, measure)]
    seeds = len(study.seeds())
    intervals = "Student's t over seeds" + ', bootstrap over images' * over_images
    reference = escape_markdown(study.conditions[0])
    note = (
        f'Mean ± standard deviation over {seeds} seed{"s" * (seeds != 1)}; differences to {reference} '
        f'are paired by seed, with 95 % confidence intervals ({intervals}); bold: the interval over seeds excludes 0.'
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
    """State how many differences are significant, and how many are expected to be by chance.

    The training loss has no preferred direction and does not count.
    """
    of_seeds = [list(one.by_seed.values()) for one in study.differences if one.measure.better and len(one.by_seed) > 1]
    if len(of_seeds) < 2:
        return ''
    level = 1 - LEVEL
    found = sum(t_test(values) < level for values in of_seeds)
    kept = sum(significant_after_holm(of_seeds))
    return (
        f' Of the {len(of_seeds)} differences in measures with a preferred direction, {found or "none"} '
        f'{"is" if found < 2 else "are"} significant ({level * len(of_seeds):.1f} expected by chance), '
        f"{kept or 'none'} after Holm's correction."
    )
