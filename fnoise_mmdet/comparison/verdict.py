"""A comparison in words: what the data allow to say, and what they do not."""

from .compare import BETTER, WORSE, Comparison, Difference
from .intervals import signed, told_after_holm
from .measures import AP_METRICS, ROBUST_METRICS

LEARNED = 0.01  # the AP below which a model detects nothing worth comparing
UNTRAINED = f'No model has a {{}} of {LEARNED} or more: they have hardly learned to detect. Train longer.'


def verdict(comparison: Comparison) -> list[str]:
    """Return the sentences that settle the question, the answer first.

    The first measure decides, which is an AP where there is one, and it
    decides by its interval over seeds. Whoever looks at many measures will find
    a difference in one of them by chance, and so does who looks at many
    conditions: what these tell together comes before what each tells.
    """
    reference, *others = comparison.conditions
    if not others:
        return [f'There is only one condition, {reference.name}: nothing to compare it with.']
    return [*_overview(comparison), *(sentence for other in others for sentence in _about(comparison, other.name))]


def _overview(comparison: Comparison) -> list[str]:
    """Tell of all conditions together, where several have an interval over seeds in the first measure."""
    reference, main = comparison.conditions[0].name, comparison.measures[0]
    found = [one for one in comparison.differences if one.measure is main and one.seeds is not None]
    if len(found) < 2:
        return []
    kept = told_after_holm([list(one.by_seed.values()) for one in found])
    told = [one for one in found if one.seeds is not None and one.seeds.excludes_zero()]
    if not told:
        return [
            f'None of {len(found)} conditions can be told from {reference} in {main.label}: each 95 % interval over '
            'seeds holds 0.'
        ]
    sides = []
    for direction in (BETTER, WORSE):
        found_so = [one for one in told if one.direction == direction]
        if found_so:
            names = ', '.join(f'{one.condition} ({signed(one.mean)})' for one in found_so)
            sides.append(f'{len(found_so)} {"is" if len(found_so) == 1 else "are"} {direction}, {names}')
    still = ', '.join(one.condition for one, holds in zip(found, kept) if holds) or 'none'
    return [
        f'{main.label} of {len(found)} conditions against {reference}, by 95 % intervals over seeds: '
        f"{'; '.join(sides)}. After Holm's correction for {len(found)} comparisons this holds for {still}."
    ]


def _about(comparison: Comparison, name: str) -> list[str]:
    reference = comparison.conditions[0].name
    found = [one for one in comparison.differences if one.condition == name]
    if not found:
        return [
            f'{name} and {reference} cannot be compared: they have no pair of runs with the same seed, '
            'data, schedule and length. The notes below say what differs.'
        ]
    main = found[0]
    first = UNTRAINED.format(main.measure.label) if _is_untrained(main) else _headline(main)
    sentences = [first, *_losses(comparison, name), *_robustness(comparison, name)]
    if main.images is not None and main.seeds is not None and main.seeds.excludes_zero() != main.images.excludes_zero():
        which = (
            'include 0, so other images might show another sign'
            if main.seeds.excludes_zero()
            else 'exclude 0, but the interval over seeds decides: a new training is a new model'
        )
        sentences.append(
            f'Over other validation images like these, the difference would range from {main.images.in_words()}: '
            f'these bounds {which}.'
        )
    pair = [one for one in comparison.conditions if one.name in (name, reference)]
    broken = [run.name for one in pair for run in one.runs if run.diverged()]
    if broken:
        sentences.append(f'{", ".join(broken)} diverged (NaN or Inf), and counts in no difference that has it.')
    return sentences


def _headline(main: Difference) -> str:
    pairs, label = len(main.by_seed), main.measure.label
    amount = f'{main.condition} − {main.reference} = {signed(main.mean)}'
    if main.seeds is None:
        return (
            f'One pair of runs cannot tell a difference in {label} from chance: {amount}. Trainings differ from seed '
            'to seed as much; run more seeds.'
        )
    told = f'{amount}, 95 % interval {main.seeds.in_words()} over {pairs} seeds'
    if not main.seeds.excludes_zero():
        reach = (main.seeds.high - main.seeds.low) / 2
        return (
            f'No difference in {label} can be told with {pairs} seeds: {told}. With this spread, {pairs} seeds show a '
            f'difference of {_number(reach)} or more.'
        )
    return f'{main.condition} is {main.direction or main.conclusion} than {main.reference} in {label}: {told}.'


def _is_untrained(main: Difference) -> bool:
    """Whether no model has learned to detect: that they are equal then says nothing."""
    values = [value for of_seeds in main.measure.values.values() for value in of_seeds.values()]
    return main.measure.key in AP_METRICS and max(values) < LEARNED


def _losses(comparison: Comparison, name: str) -> list[str]:
    """Tell a higher training loss from a worse model."""
    train, val = comparison.difference('loss', name), comparison.difference('val_loss', name)
    if train is None:
        return []
    direction = 'higher' if train.mean > 0 else 'lower'
    said = f'The training loss of {name} is {direction} by {_number(abs(train.mean))}'
    if train.seeds is not None and not train.seeds.excludes_zero():
        said = f'No difference in the training loss can be told ({signed(train.mean)})'
    if val is None:
        return [f'{said}. There is no validation loss that would tell the effect of the noise from that of the model.']
    clean = 'On clean validation images, where no noise acts, the loss'
    if val.seeds is None:
        return [f'{said}. {clean} differs by {signed(val.mean)}, which one pair does not tell from chance.']
    if not val.seeds.excludes_zero():
        return [f'{said}. {clean} shows no difference: {signed(val.mean)}, {val.seeds.in_words()}.']
    worse = 'higher: the model fits them less well' if val.mean > 0 else 'lower: the model fits them better'
    return [f'{said}. {clean} is {worse} ({signed(val.mean)}, {val.seeds.in_words()}).']


def _robustness(comparison: Comparison, name: str) -> list[str]:
    """Tell how the models hold up under corruption, in the first metric that was evaluated."""
    found = (comparison.difference(f'{metric}/mPC', name) for metric in ROBUST_METRICS)
    mpc = next((one for one in found if one is not None), None)
    if mpc is None:
        return []
    told = f'{mpc.measure.label} {signed(mpc.mean)}'
    if mpc.seeds is None:
        return [f'Under corruption of the images: {told}, which one pair does not tell from chance.']
    told = f'{told}, {mpc.seeds.in_words()}'
    if not mpc.seeds.excludes_zero():
        return [f'Under corruption of the images no difference can be told: {told}.']
    return [f'Under corruption of the images {name} is {mpc.direction}: {told}.']


def _number(value: float) -> str:
    return f'{value:.3f}'
