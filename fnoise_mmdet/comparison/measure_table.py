"""Table of the measures of a comparison."""

from collections.abc import Mapping, Sequence

from ..visualization.markup import escape_markdown
from .compare import Difference, most_pairs
from .intervals import LEVEL, significant_after_holm, t_test
from .measures import LEAST, MARGIN, Measure
from .numbers import number
from .saved_comparison import SavedComparison
from .table import Row, Section, Table

CONCLUSIONS = (
    f'Equivalent: within ±{MARGIN} by two one-sided tests at 5 %, in measures that reach {LEAST}; inconclusive: '
    f'neither that nor significant, with the number of seeds that would show a difference of {MARGIN} in AP and other '
    'shares or rule it out (power 80 %).'
)
INTERVALS = ('95 % CI over seeds', '95 % CI over images')


def measure_table(conditions: Sequence[str], measures: Sequence[Measure], differences: Sequence[Difference]) -> Table:
    """Return the table of some measures.

    A pair of conditions has one row per measure, several have one row per
    condition under each measure.

    Args:
        conditions: Names, the reference first.
        measures: Measures to show, in this order.
        differences: Differences of any measures; those of others are ignored.
    """
    shown = {measure.key for measure in measures}
    found = [one for one in differences if one.measure.key in shown]
    intervals, seeds = _intervals(found), most_pairs(found)
    if len(conditions) == 2:
        reference, other = conditions
        of_measure = {one.measure.key: one for one in found if one.condition == other}
        rows = [
            _row([_title(one), _spread(one, reference), _spread(one, other)], of_measure.get(one.key), intervals, seeds)
            for one in measures
        ]
        heads = ['', reference, other, *_heads(intervals)]
        return Table(heads, [Section('', rows)], numeric=3 + intervals, emphasized=3)
    sections = [_section(_title(one), conditions, one, found, intervals, seeds) for one in measures]
    return Table(['', 'mean', *_heads(intervals)], sections, numeric=2 + intervals, emphasized=2)


def _intervals(differences: Sequence[Difference]) -> int:
    """Return the number of columns of intervals."""
    return 1 + any(one.images is not None for one in differences)


def _heads(intervals: int) -> list[str]:
    return ['difference', *INTERVALS[:intervals], 'conclusion']


def _section(
    title: str,
    conditions: Sequence[str],
    measure: Measure,
    differences: Sequence[Difference],
    intervals: int,
    seeds: int,
) -> Section:
    of_condition = {one.condition: one for one in differences if one.measure.key == measure.key}
    rows = [
        _row([name, _spread(measure, name)], of_condition.get(name), intervals, seeds)
        for name in conditions
        if measure.mean(name) is not None
    ]
    return Section(title, rows)


def _title(measure: Measure) -> str:
    return f'{measure.label} {dict(higher="↑", lower="↓").get(measure.better, "")}'.rstrip()


def _spread(measure: Measure, condition: str) -> str:
    mean, deviation = number(measure.mean(condition), measure.decimals), measure.deviation(condition)
    return mean if deviation is None else f'{mean} ± {number(deviation, measure.decimals)}'


def _row(cells: Sequence[str], difference: Difference | None, intervals: int, seeds: int) -> Row:
    """Return the row of a difference, which names its number of pairs if it has fewer than ``seeds``."""
    if difference is None:
        return Row([*cells, '', *[''] * intervals, ''])
    decimals = difference.measure.decimals
    bounds = [one.in_words(decimals) if one else number(None) for one in (difference.seeds, difference.images)]
    needed = difference.seeds_needed
    conclusion = f'{difference.conclusion}, needs {needed} seeds' if needed else difference.conclusion
    pairs = len(difference.by_seed)
    if pairs < seeds:
        conclusion += f' (n = {pairs})'
    emphasis = difference.conclusion if difference.conclusion == difference.direction else 'different'
    significant = difference.seeds is not None and difference.seeds.excludes_zero()
    return Row(
        [*cells, difference.in_words(), *bounds[:intervals], conclusion],
        emphasis if significant else '',
    )


def study_page(study: SavedComparison) -> str:
    """Return the table of a study in Markdown, with a note on its statistics."""
    table = measure_table(study.conditions, study.measures, study.differences)
    seeds = len(study.seeds())
    note = _note(
        f'{seeds} seed{"s" * (seeds != 1)}', escape_markdown(study.conditions[0]), _intervals(study.differences)
    )
    warnings = ''.join(f'\n- {escape_markdown(warning)}' for warning in study.warnings)
    return f'{table.markdown()}\n\n{note}{_by_chance(study)}' + (f'\n\nWarnings:\n{warnings}' if warnings else '')


def regime_page(studies: Mapping[str, SavedComparison]) -> str:
    """Return the table of several studies in Markdown, with a note on its statistics.

    Each measure of a study has a section, with one row per condition.

    Args:
        studies: Saved comparison of each regime, in the order of the sections.
    """
    intervals = _intervals([one for study in studies.values() for one in study.differences])
    sections = [
        _section(
            f'{regime}: {_title(measure)}, n = {most_pairs(found)}',
            study.conditions,
            measure,
            found,
            intervals,
            most_pairs(found),
        )
        for regime, study in studies.items()
        for measure, found in study.by_measure()
    ]
    table = Table(['', 'mean', *_heads(intervals)], sections, numeric=2 + intervals, emphasized=2)
    return f'{table.markdown()}\n\n{_note("n seeds", "the first condition", intervals)}{_across_regimes(studies)}'


def _note(seeds: str, reference: str, intervals: int) -> str:
    kinds = ("Student's t over seeds", 'bootstrap over images')[:intervals]
    return (
        f'Mean ± standard deviation over {seeds}; ↑ higher is better, ↓ lower; differences to {reference} are paired '
        f'by seed, with 95 % confidence intervals ({", ".join(kinds)}); bold: the interval over seeds excludes 0. '
        f'{CONCLUSIONS}'
    )


def _by_chance(study: SavedComparison) -> str:
    """State how many differences are significant, and how many are expected to be by chance.

    The training loss has no preferred direction and does not count. Holm's
    correction is for the number of conditions, in each measure by itself.
    """
    of_measures: dict[str, list[list[float]]] = {}
    for one in study.differences:
        if one.measure.better and len(one.by_seed) > 1:
            of_measures.setdefault(one.measure.key, []).append(list(one.by_seed.values()))
    of_seeds = [values for found in of_measures.values() for values in found]
    if len(of_seeds) < 2:
        return ''
    level = 1 - LEVEL
    found = sum(t_test(values) < level for values in of_seeds)
    kept = sum(sum(significant_after_holm(values)) for values in of_measures.values())
    return (
        f' Of the {len(of_seeds)} differences in measures with a preferred direction, {found or "none"} '
        f'{"is" if found < 2 else "are"} significant ({number(level * len(of_seeds), 1)} expected by chance), '
        f"{kept or 'none'} after Holm's correction within each measure."
    )


def _across_regimes(studies: Mapping[str, SavedComparison]) -> str:
    """State where conditions of several sections differ significantly, by Holm's correction for their number."""
    of_conditions: dict[str, dict[str, list[float]]] = {}
    for regime, study in studies.items():
        for one in study.differences:
            if len(one.by_seed) > 1:
                sections = of_conditions.setdefault(one.condition, {})
                sections[f'{regime}: {one.measure.label}'] = list(one.by_seed.values())
    results = []
    for name, sections in of_conditions.items():
        kept = [section for section, is_kept in zip(sections, significant_after_holm([*sections.values()])) if is_kept]
        listed = f' ({", ".join(kept)})' if kept else ''
        if len(sections) > 1:
            results.append(f'{name} in {len(kept) or "none"} of {len(sections)}{listed}')
    if not results:
        return ''
    return f" Significant after Holm's correction for the number of sections: {escape_markdown('; '.join(results))}."
