import numpy as np
import pytest
from scipy import stats

from fnoise_mmdet.comparison.learning_curve import learning_curves, worth_in_labels, worth_table
from fnoise_mmdet.comparison.measures import Measure


def curve(slope=0.05, noise=0.0, seeds=8):
    """AP that grows by ``slope`` with each doubling of 32 labels, the same deviation of a seed at all of them."""
    deviations = np.random.default_rng(0).normal(scale=noise, size=seeds)
    return {
        labels: {seed: 0.2 + slope * np.log2(labels / 32) + deviation for seed, deviation in enumerate(deviations)}
        for labels in (32, 64, 128)
    }


@pytest.mark.parametrize(('gain', 'labels'), [(0.05, 64), (0.075, 32 * 2**1.5), (0.0, 32), (0.1, 128)])
def test_worth_of_a_condition_on_the_curve(gain, labels):
    found = worth_in_labels(curve(), dict.fromkeys(range(8), 0.2 + gain))
    assert found.labels == pytest.approx(labels) and found.interval == pytest.approx((labels, labels))


def test_seeds_are_paired():
    """A deviation that curve and condition share is none of the worth's."""
    noisy = curve(noise=0.03)
    paired = worth_in_labels(noisy, {seed: value + 0.025 for seed, value in noisy[64].items()})
    assert paired.interval.high - paired.interval.low < 1e-6 and paired.labels == pytest.approx(64 * 2**0.5)
    mixed = dict(zip(noisy[64], np.roll(list(noisy[64].values()), 1)))
    unpaired = worth_in_labels(noisy, mixed)
    assert unpaired.interval.low < 60 and unpaired.interval.high > 68


def test_outside_of_the_curve_only_a_bound_is_known():
    below, above = (worth_in_labels(curve(), dict.fromkeys(range(8), value)) for value in (0.1, 0.4))
    assert below.in_words() == '≤ 32 (≤ 32 to ≤ 32)' and above.in_words() == '≥ 128 (≥ 128 to ≥ 128)'


def measure(**values):
    return Measure('coco/segm_mAP', 'mask AP', 'higher', values)


def test_table_marks_bounds_and_omits_points_of_the_curve():
    points = curve(noise=0.001)
    values = dict(below=dict.fromkeys(range(8), 0.1), inside=dict.fromkeys(range(8), 0.24), supervised=points[64])
    lines = worth_table([*values, 'other'], {64: measure(**values)}, points).markdown().splitlines()
    title, below, inside = lines[2:]
    assert title.startswith('| **trained with 64 labelled images** |')
    assert below == '| below | 0.100 | ≤ 32 (≤ 32 to ≤ 32) | ≤ −50 % (≤ −50 % to ≤ −50 %) |'
    assert inside.startswith('| inside | 0.240 | 55 (55 to 56) |') and '≤' not in inside and '≥' not in inside


def test_worth_at_several_numbers_of_labels():
    """A condition that gains half a doubling at each number, of which the last is outside of the curve."""
    points = curve()
    measures = {
        labels: measure(plain=values, better={seed: value + 0.025 for seed, value in values.items()})
        for labels, values in points.items()
    }
    table = worth_table(['plain', 'better'], measures, points)
    assert [section.title for section in table.sections] == [
        f'trained with {labels} labelled images' for labels in points
    ]
    assert [[row.cells[2] for row in section.rows] for section in table.sections] == [
        ['45 (45 to 45)'],
        ['91 (91 to 91)'],
        ['≥ 128 (≥ 128 to ≥ 128)'],
    ]


def test_curves_have_means_and_bands():
    rng = np.random.default_rng(0)
    values = {labels: rng.normal(0.3, 0.02, size=(2, 6)) for labels in (40, 640, 160)}
    measures = {
        labels: measure(plain=dict(enumerate(plain)), noisy=dict(enumerate(noisy)), hidden={0: 1.0})
        for labels, (plain, noisy) in values.items()
    }
    del measures[160].values['noisy']
    (axes,) = learning_curves(['plain', 'noisy'], measures).axes
    plain, noisy = axes.lines
    assert list(plain.get_xdata()) == [40, 160, 640] and list(noisy.get_xdata()) == [40, 640]
    assert plain.get_ydata() == pytest.approx([values[labels][0].mean() for labels in (40, 160, 640)])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['plain', 'noisy']
    reach = stats.t.ppf(0.975, 5) * stats.sem(values[640][1])
    band = axes.collections[1].get_paths()[0].vertices
    assert band[band[:, 0] == 640, 1].max() == pytest.approx(values[640][1].mean() + reach)


def test_one_seed_has_no_band():
    measures = {40: measure(plain={0: 0.1}), 80: measure(plain={0: 0.2, 1: 0.3})}
    (axes,) = learning_curves(['plain', 'failed'], measures).axes
    assert not axes.collections and list(axes.lines[0].get_ydata()) == [0.1, 0.25]


def test_more_labels_are_never_worth_less():
    dented = curve()
    dented[64] = dict.fromkeys(range(8), 0.15)  # below that of 32
    assert worth_in_labels(dented, dict.fromkeys(range(8), 0.25)).labels == pytest.approx(64 * 2**0.5)


def test_interval_covers_the_worth():
    """Of 200 experiments of 12 seeds, at least 88 % of the intervals contain the true 64 labels."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        shared = rng.normal(scale=0.02, size=12)
        noisy = {
            labels: dict(enumerate(values + shared + rng.normal(scale=0.01, size=12)))
            for labels, values in ((32, 0.2), (64, 0.25), (128, 0.3))
        }
        found = worth_in_labels(noisy, dict(enumerate(0.25 + shared + rng.normal(scale=0.01, size=12))))
        hits += found.interval.low <= 64 <= found.interval.high
    assert hits >= 176


def test_too_little_for_a_worth():
    assert worth_in_labels(curve(), {0: 0.2}) is None
    assert worth_in_labels({32: curve()[32]}, dict.fromkeys(range(8), 0.2)) is None
