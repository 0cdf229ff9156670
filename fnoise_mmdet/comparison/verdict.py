"""The result of a comparison, in sentences."""

from .compare import EQUIVALENT, HARMS, HELPS, INCONCLUSIVE, Comparison, Difference
from .intervals import significant_after_holm
from .measures import AP_METRICS, HIGHER, LOWER, ROBUST_METRICS, Measure
from .numbers import number

WORDS = (HELPS, HARMS, HIGHER, LOWER, EQUIVALENT, INCONCLUSIVE)
LEARNED = 0.01  # AP below which models are too weak to be compared
UNTRAINED = f'No model reaches a {{}} of {LEARNED}: they have hardly learned to detect. Train longer.'


def verdict(comparison: Comparison) -> list[str]:
    """Return the result of a comparison in sentences, the main result first.

    The first measure, an AP if there is one, decides by the seeds: among many
    measures one differs by chance. With several conditions a summary, corrected
    for multiple testing, comes first.
    """
    reference, *others = comparison.conditions
    if not others:
        return [f'There is only one condition, {reference.name}: nothing to compare.']
    return [*_overview(comparison), *(sentence for other in others for sentence in _about(comparison, other.name))]


def _overview(comparison: Comparison) -> list[str]:
    """Summarize all conditions, if several have an interval over seeds in the first measure, or none has learned."""
    reference, main = comparison.conditions[0].name, comparison.measures[0]
    if is_untrained(main):
        return [UNTRAINED.format(main.label)]
    found = [one for one in comparison.differences if one.measure is main and one.seeds is not None]
    if len(found) < 2:
        return []
    groups: dict[str, list[str]] = {word: [] for word in WORDS}
    for one in found:
        groups[one.conclusion].append(f'{one.condition} ({one.in_words()})')
    words = {EQUIVALENT: f'{EQUIVALENT} within ±{main.margin}'}
    listed = '; '.join(f'{words.get(word, word)}: {", ".join(names)}' for word, names in groups.items() if names)
    sentence = f'{main.label} of {len(found)} conditions against {reference}: {listed}.'
    if any(one.seeds is not None and one.seeds.excludes_zero() for one in found):
        kept = significant_after_holm([list(one.by_seed.values()) for one in found])
        remaining = ', '.join(one.condition for one, is_kept in zip(found, kept) if is_kept) or 'none'
        sentence += f" Significant after Holm's correction for {len(found)} comparisons: {remaining}."
    return [sentence]


def _about(comparison: Comparison, name: str) -> list[str]:
    reference = comparison.conditions[0].name
    found = [one for one in comparison.differences if one.condition == name]
    if not found:
        return [
            f'{name} and {reference} cannot be compared: they have no pair of runs with the same seed, '
            'data, schedule and length. See the notes below for the differences.'
        ]
    label = comparison.measures[0].label
    main = comparison.difference(comparison.measures[0].key, name)
    if main is None:
        return [f'{name} and {reference} have no pair of runs with a {label}: nothing is concluded.']
    headline = [] if is_untrained(main.measure) else [_headline(main)]
    sentences = [*headline, *_losses(comparison, name), *_robustness(comparison, name)]
    if main.images is not None and main.seeds is not None and main.seeds.excludes_zero() != main.images.excludes_zero():
        which = (
            'includes 0, so the sign may change on other images'
            if main.seeds.excludes_zero()
            else 'excludes 0, but the interval over seeds decides, as it includes the variation between trainings'
        )
        sentences.append(
            f'The bootstrap 95 % confidence interval over validation images, {main.images.in_words()}, {which}.'
        )
    pair = [one for one in comparison.conditions if one.name in (name, reference)]
    broken = [run.name for one in pair for run in one.runs if run.diverged()]
    if broken:
        sentences.append(f'{", ".join(broken)} diverged (NaN or Inf): undefined differences are excluded.')
    return sentences


def _headline(main: Difference) -> str:
    pairs, label = len(main.by_seed), main.measure.label
    amount = f'{main.condition} − {main.reference} = {main.in_words()}'
    if main.seeds is None:
        return (
            f'One pair of runs does not allow a significance test in {label}: {amount}. The variation between seeds '
            'may be as large; run more seeds.'
        )
    result = f'{amount}, 95 % confidence interval {main.seeds.in_words()} over {pairs} seeds'
    if main.conclusion == INCONCLUSIVE:
        sentence = f'The difference in {label} is inconclusive: {result}.'
        if main.seeds_needed:
            sentence += (
                f' About {main.seeds_needed} seeds would show a difference of {main.measure.margin}, or rule it out.'
            )
        return sentence
    if main.conclusion == EQUIVALENT:
        return (
            f'{main.condition} and {main.reference} are equivalent in {label}, within ±{main.measure.margin}: {result}.'
        )
    if main.direction:
        return f'{main.condition} {main.direction}: {label} {result}.'
    return f'{label} of {main.condition} is {main.conclusion} than that of {main.reference}: {result}.'


def is_untrained(measure: Measure) -> bool:
    """Return whether no model has learned to detect, which makes equal AP meaningless."""
    values = [value for of_seeds in measure.values.values() for value in of_seeds.values()]
    return measure.key in AP_METRICS and max(values) < LEARNED


def _losses(comparison: Comparison, name: str) -> list[str]:
    """Report training and validation loss: noise raises the former without making the model worse."""
    train, val = comparison.difference('loss', name), comparison.difference('val_loss', name)
    if train is None:
        return []
    direction = 'higher' if train.mean > 0 else 'lower'
    text = f'The training loss of {name} is {direction} by {number(abs(train.mean))}'
    if number(abs(train.mean)) == number(0):
        text = f'The training loss of {name} differs by less than 0.001'
    if train.seeds is not None and not train.seeds.excludes_zero():
        text = f'The difference in the training loss is not significant ({train.in_words()})'
    if val is None:
        return [
            f'{text}. Without a validation loss, the effect of the noise cannot be separated from that of the model.'
        ]
    clean = 'On clean validation images, without noise, the loss'
    if val.seeds is None:
        return [f'{text}. {clean} differs by {val.in_words()} (one pair: significance unknown).']
    if not val.seeds.excludes_zero():
        return [f'{text}. {clean} shows no significant difference: {val.in_words()}, {val.seeds.in_words()}.']
    worse = 'higher: the model fits them less well' if val.mean > 0 else 'lower: the model fits them better'
    return [f'{text}. {clean} is {worse} ({val.in_words()}, {val.seeds.in_words()}).']


def _robustness(comparison: Comparison, name: str) -> list[str]:
    """Report the difference in mPC, in the first metric that was evaluated."""
    found = (comparison.difference(f'{metric}/mPC', name) for metric in ROBUST_METRICS)
    mpc = next((one for one in found if one is not None), None)
    if mpc is None:
        return []
    text = f'{mpc.measure.label} {mpc.in_words()}'
    if mpc.seeds is None:
        return [f'Under corruption of the images: {text} (one pair: significance unknown).']
    text = f'{text}, {mpc.seeds.in_words()}'
    if mpc.direction and mpc.conclusion == mpc.direction:
        return [f'Under corruption of the images {name} {mpc.direction}: {text}.']
    return [f'Under corruption of the images the difference is {mpc.conclusion}: {text}.']
