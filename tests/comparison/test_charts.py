import numpy as np
import pytest

from fnoise_mmdet.comparison import Condition, chart_groups
from fnoise_mmdet.comparison.charts import smooth, snr_group
from fnoise_mmdet.comparison.intervals import t_interval
from fnoise_mmdet.comparison.measures import collect_measures


def naive(values, window):
    start = (window - 1) // 2
    averaged = []
    for place, value in enumerate(values):
        near = [values[at] for at in range(place - window // 2, place + start + 1) if 0 <= at < len(values)]
        averaged.append(np.nan if np.isnan(value) else np.nanmean(near))
    return averaged


@pytest.mark.parametrize('window', [1, 2, 3, 6])
def test_smoothing(window):
    values = np.random.default_rng(0).normal(size=20)
    values[4] = np.nan
    np.testing.assert_allclose(smooth(values, window), naive(values, window))


def test_mean_and_band_over_seeds(make_run):
    condition = Condition('a', [make_run('a/0', 0.0), make_run('a/1', 1.0)], [])
    groups = {group.key: group for group in chart_groups([condition])}
    assert set(groups) == {'losses', 'validation_losses', 'ap'}
    (chart,) = groups['losses'].rows[0]
    (line,) = chart.lines
    assert line.x == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(line.mean, [9.5, 8.5, 7.5, 6.5, 5.5, 4.5])
    np.testing.assert_allclose(np.subtract(line.high, line.low), 1.0)


def test_conditions_stand_alone_and_overlaid(make_run):
    pair = [Condition(name, [make_run(name)], []) for name in ('a', 'b')]
    groups = {group.key: group for group in chart_groups(pair)}
    assert [[chart.title for chart in row] for row in groups['losses'].rows] == [
        ['loss: a', 'loss: b', 'loss: overlaid'],
        ['loss: difference to a, paired by seed'],
        ['loss_cls: a', 'loss_cls: b', 'loss_cls: overlaid'],
        ['loss_cls: difference to a, paired by seed'],
    ]
    assert [line.colour for line in groups['losses'].rows[0][2].lines] == [0, 1]
    assert [chart.title for chart in groups['ap'].rows[0]] == ['bbox_mAP']


def test_differences_are_those_of_the_runs_of_one_seed(make_run):
    """Whose losses are 0 and 1, 3 and 7 above those of the recorded run."""
    pair = [
        Condition(name, [make_run(f'{name}/{seed}', value) for seed, value in enumerate(values)], [])
        for name, values in (('a', (0.0, 1.0)), ('b', (3.0, 7.0)))
    ]
    (chart,) = chart_groups(pair)[0].rows[1]
    (line,) = chart.lines
    assert chart.is_difference and (line.label, line.colour) == ('b', 1)
    np.testing.assert_allclose([line.low, line.mean, line.high], [[3.0] * 6, [4.5] * 6, [6.0] * 6])


def test_nan_is_a_gap(make_run):
    run = make_run('a')
    run.train[2]['loss'] = float('nan')
    (group, *_) = chart_groups([Condition('a', [run, make_run('b')], [])])
    assert np.isnan(group.rows[0][0].lines[0].mean).tolist() == [False, False, True, False, False, False]


def test_ap_against_the_signal_to_noise_ratio(make_run, write_robustness, tmp_path):
    def evaluated(seed, shift):
        found = (('e5m2', 0.3, 25.0, {}), ('additive', 0.2, 14.0, dict(scale=0.2)), ('int4', 0.1, 13.0, {}))
        results = [
            dict(
                kind='deployment',
                name=name,
                metrics=dict(bbox_mAP=ap + shift, snr_db=snr + seed),
                predictions='',
                **more,
            )
            for name, ap, snr, more in found
        ]
        results.append(dict(kind='clean', metrics=dict(bbox_mAP=0.4 + shift), predictions=''))
        robustness = write_robustness(tmp_path / f'run_{shift}_{seed}', results)
        return make_run(f'{shift}/{seed}', record=dict(seed=seed), robustness=robustness)

    conditions = [
        Condition(name, [evaluated(seed, shift + seed / 100) for seed in (0, 1)], [])
        for name, shift in (('baseline', 0.0), ('fnoise', 0.05))
    ]
    (group,) = [group for group in chart_groups(conditions) if group.key == 'robustness']
    ((chart,),) = group.rows
    assert chart.title == 'box AP, features as on hardware' and chart.x_label == 'SNR (dB)'
    assert [line.label for line in chart.lines] == ['baseline', 'fnoise']
    line = chart.lines[1]
    assert line.x == [13.5, 14.5, 25.5] and line.mean == pytest.approx([0.155, 0.255, 0.355])
    reach = t_interval([0.15, 0.16]).high - 0.155
    assert line.low == pytest.approx([value - reach for value in line.mean])
    assert line.high == pytest.approx([value + reach for value in line.mean])

    group = snr_group(['baseline', 'fnoise'], list(collect_measures(conditions, [])))
    (overlaid,), (difference,) = group.rows
    assert overlaid.lines == chart.lines and difference.is_difference
    (line,) = difference.lines
    assert (line.label, line.colour, line.x) == ('fnoise', 1, [13.5, 14.5, 25.5])
    kept = [
        [(ap + 0.05 + seed / 100) / (0.45 + seed / 100) - (ap + seed / 100) / (0.4 + seed / 100) for seed in (0, 1)]
        for ap in (0.1, 0.2, 0.3)
    ]
    assert line.mean == pytest.approx([sum(shares) / 2 for shares in kept])
    assert list(zip(line.low, line.high)) == [pytest.approx(t_interval(shares)) for shares in kept]
