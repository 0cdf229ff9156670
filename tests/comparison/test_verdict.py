import re

import pytest

from fnoise_mmdet.comparison import Condition, compare, verdict
from fnoise_mmdet.comparison.intervals import Interval


def settle(make_run, baseline, fnoise, images=None):
    def runs(name, offsets):
        return [make_run(f'{name}/{seed}', offset, record=dict(seed=seed)) for seed, offset in enumerate(offsets)]

    found = compare(
        [Condition('baseline', runs('baseline', baseline), []), Condition('fnoise', runs('fnoise', fnoise), [])]
    )
    if images:
        differences = [one._replace(images=images) if 'mAP' in one.measure.key else one for one in found.differences]
        found = found._replace(differences=differences)
    return verdict(found)


def test_one_pair_is_inconclusive(make_run):
    first, second = settle(make_run, [0.0], [0.1])
    assert first.startswith('One pair of runs does not allow a significance test in box AP: fnoise − baseline = +0.100')
    assert 'one pair: significance unknown' in second


def test_a_loss_that_differs_by_nothing_is_neither_higher_nor_lower(make_run):
    _, losses = settle(make_run, [0.0], [0.0001])
    assert losses.startswith('The training loss of fnoise differs by less than 0.001. ')


def test_many_conditions_are_settled_together_first(make_run):
    def overview(**offsets):
        conditions = [
            Condition(name, [make_run(f'{name}/{seed}', offset, record=dict(seed=seed))
                             for seed, offset in enumerate(found)], [])
            for name, found in dict(baseline=[0.0, 0.01, 0.02], **offsets).items()
        ]  # fmt: skip
        return verdict(compare(conditions))

    clear, unclear, lucky = [0.2, 0.211, 0.219], [0.1, 0.0, -0.1], [-0.09, -0.14, -0.1]
    same = [0.0, 0.0101, 0.0201]
    assert overview(a=unclear, b=same)[0] == (
        'box AP of 2 conditions against baseline: equivalent within ±0.01: b (+0.000); inconclusive: a (−0.010).'
    )
    assert overview(a=unclear, good=clear, bad=lucky, b=unclear, c=unclear)[0] == (
        'box AP of 5 conditions against baseline: helps: good (+0.200); harms: bad (−0.120); inconclusive: a (−0.010), '
        "b (−0.010), c (−0.010). Significant after Holm's correction for 5 comparisons: good."
    )
    assert overview(bad=lucky, worse=lucky, c=unclear)[0].endswith(
        "inconclusive: c (−0.010). Significant after Holm's correction for 3 comparisons: none."
    )
    assert overview(a=unclear)[0].startswith('The difference in box AP'), 'one condition needs no overview'


def test_models_that_have_not_learned_are_named(make_run):
    sentences = settle(make_run, [-0.2], [-0.195])  # the AP of the made-up runs ends at 0.2
    assert sentences[0] == 'No model reaches a box AP of 0.01: they have hardly learned to detect. Train longer.'
    assert not any('hardly' in sentence for sentence in settle(make_run, [-0.2], [-0.18]))


def test_untrained_models_are_not_equivalent(make_run):
    conditions = [
        Condition(name, [make_run(f'{name}/{seed}', -0.2, record=dict(seed=seed)) for seed in range(3)], [])
        for name in ('baseline', 'a', 'b')
    ]
    sentences = verdict(compare(conditions))
    assert sentences[0].startswith('No model reaches a box AP of 0.01')
    assert not any('equivalent' in sentence for sentence in sentences)


def test_without_the_first_measure_nothing_is_concluded(make_run):
    def runs(name, has_ap):
        found = [make_run(f'{name}/{seed}', 0.1 * seed, record=dict(seed=seed)) for seed in range(3)]
        return [
            run if has_ap else run._replace(val=[{'val_loss': row['val_loss'], 'step': row['step']} for row in run.val])
            for run in found
        ]

    conditions = [Condition('baseline', runs('baseline', True), []), Condition('dead', runs('dead', False), [])]
    assert verdict(compare(conditions)) == [
        'dead and baseline have no pair of runs with a box AP: nothing is concluded.'
    ]


def test_no_difference(make_run):
    first, *_ = settle(make_run, [0.0, 0.1, 0.2], [0.01, 0.09, 0.2])
    assert re.match(r'The difference in box AP is inconclusive: .* confidence interval −\d.\d+ to \+\d.\d+', first)
    assert re.search(r'About 1\d seeds would show a difference of 0.01, or rule it out', first)


def test_equivalence_has_its_margin(make_run):
    first, *_ = settle(make_run, [0.0, 0.1, 0.2], [0.0, 0.101, 0.2])
    assert first.startswith(
        'fnoise and baseline are equivalent in box AP, within ±0.01: fnoise − baseline = +0.000, 95'
    )


@pytest.mark.parametrize(('sign', 'word'), [(1, 'helps'), (-1, 'harms')])
def test_a_difference_has_a_direction(make_run, sign, word):
    first, second = settle(make_run, [0.0, 0.01, 0.0], [0.1 * sign, 0.1 * sign, 0.1 * sign])
    assert first.startswith(f'fnoise {word}: box AP')
    # All values of the made-up runs move together, but for the validation loss, which moves against them.
    assert ('is higher by 0.097' if sign > 0 else 'is lower by 0.103') in second
    assert ('lower: the model fits them better' if sign > 0 else 'higher: the model fits them less well') in second


@pytest.mark.parametrize(
    ('fnoise', 'words'),
    [
        ([0.33], 'mask mPC +0.030 (one pair: significance unknown)'),
        ([0.33, 0.20, 0.30], 'the difference is inconclusive: mask mPC −0.025, −0.'),
        ([0.40, 0.41, 0.42], 'fnoise helps: mask mPC +0.108, +0.'),
        ([0.20, 0.21, 0.19], 'fnoise harms: mask mPC −0.102, −0.'),
    ],
)
def test_robustness(make_run, write_robustness, tmp_path, fnoise, words):
    def runs(name, values):
        for seed, value in enumerate(values):
            result = dict(kind='corruption', name='fog', severity=3, metrics={'segm_mAP': value}, predictions='x')
            robustness = write_robustness(tmp_path / f'{name}{seed}', [result])
            yield make_run(f'{name}/{seed}', record=dict(seed=seed), robustness=robustness)

    pair = [('baseline', [0.30, 0.30, 0.305][: len(fnoise)]), ('fnoise', fnoise)]
    sentences = verdict(compare([Condition(name, list(runs(name, values)), []) for name, values in pair]))
    assert any(words in sentence and sentence.startswith('Under corruption of the images') for sentence in sentences)


def test_images_that_say_otherwise_are_named(make_run):
    sentences = settle(make_run, [0.0, 0.01, 0.0], [0.1, 0.1, 0.1], images=Interval(-0.1, 0.3))
    assert 'confidence interval over validation images, −0.100 to +0.300' in sentences[-1]
    assert 'the sign may change on other images' in sentences[-1]


def test_nothing_to_compare(make_run):
    alone = Condition('baseline', [make_run('a')], [])
    assert verdict(compare([alone])) == ['There is only one condition, baseline: nothing to compare.']
    found = compare([alone, Condition('fnoise', [], [make_run('b')])])
    assert verdict(found)[0].startswith('fnoise and baseline cannot be compared')
