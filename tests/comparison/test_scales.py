import json

import numpy as np
import pytest

from fnoise_mmdet.comparison import Condition, chart_groups, compare, scale_series
from fnoise_mmdet.comparison.intervals import t_interval
from fnoise_mmdet.comparison.report.write import to_json

FPN = dict(type='FPN', num_outs=5)


def config(noise=None, **place):
    neck = dict(type='FNoiseNeck', neck=FPN, noise=noise, **place) if noise else FPN
    return dict(model=dict(backbone=dict(type='ResNet'), neck=neck), work_dir='elsewhere')


def cct(scale, preset='cct', **settings):
    return dict(type='FeatureNoise', preset=preset, scale=scale, **settings)


@pytest.fixture
def condition(make_run):
    def make(name, cfg, offsets=(0.0, 0.2)):
        record = [dict(config=cfg, seed=seed) for seed in range(len(offsets))] if cfg else [{}, {}]
        runs = [make_run(f'{name}/{seed}', offset, record=record[seed]) for seed, offset in enumerate(offsets)]
        return Condition(name, runs, [])

    return make


def series_of(conditions):
    return [one for one in scale_series(conditions, compare(conditions).measures) if one.measure == 'coco/bbox_mAP']


def test_scale_is_the_recorded_one_and_the_baseline_is_zero(condition):
    conditions = [
        condition('baseline', config()),
        condition('strong', config(cct(0.5)), (0.4, 0.5)),
        condition('weak', config(cct(0.1)), (0.1, 0.2)),
    ]
    (series,) = series_of(conditions)
    assert series.noise == 'cct' and series.label == 'box AP'
    assert [(point.scale, point.condition) for point in series.points] == [
        (0.0, 'baseline'),
        (0.1, 'weak'),
        (0.5, 'strong'),
    ]
    point = series.points[2]
    assert point.mean == pytest.approx(0.65) and point.seeds == 2
    assert point.interval == pytest.approx(t_interval([0.6, 0.7]))


def test_what_differs_in_more_than_the_scale_is_no_point(condition):
    conditions = [
        condition('baseline', config()),
        condition('cct_0.1', config(cct(0.1))),
        condition('cct_0.3', config(cct(0.3))),
        condition('last level', config(cct(0.5), levels=[-1])),
        condition('other settings', config(cct(0.7)) | dict(optim=dict(lr=1))),
        condition('one scale', config(cct(0.1, 'l2'))),
        condition('without a scale', config(dict(type='FDrop'))),
        condition('not recorded', None),
    ]
    (series,) = series_of(conditions)
    assert [point.condition for point in series.points] == ['baseline', 'cct_0.1', 'cct_0.3']
    # A pair has a scale each, and no curve.
    assert not series_of(conditions[:2]) and not series_of(conditions[-1:])


def test_baseline_of_other_settings_is_no_point(condition):
    conditions = [
        condition('baseline', config() | dict(optim=dict(lr=1))),
        *(condition(f'cct_{scale}', config(cct(scale))) for scale in (0.1, 0.3)),
    ]
    (series,) = series_of(conditions)
    assert [point.scale for point in series.points] == [0.1, 0.3]


def test_one_noise_in_several_places_has_a_line_each(condition):
    conditions = [
        condition('baseline', config()),
        *(condition(f'{name}_{scale}', config(cct(scale), **place))
          for name, place in (('all', {}), ('last', dict(levels=[-1]))) for scale in (0.1, 0.3)),
    ]  # fmt: skip
    assert [one.noise for one in series_of(conditions)] == ['cct, as in all_0.1', 'cct, as in last_0.1']


def test_chart_and_numbers(condition):
    conditions = [
        condition('baseline', config()),
        *(condition(f'c{s}', config(cct(s)), (s, 2 * s)) for s in (0.1, 0.3)),
    ]
    group = next(group for group in chart_groups(conditions) if group.key == 'scales')
    charts = {chart.title: chart for row in group.rows for chart in row}
    assert list(charts) == ['box AP: cct', 'validation loss: cct', 'training loss: cct']
    (line,) = charts['box AP: cct'].lines
    assert line.label == 'cct' and line.x == [0, 0.1, 0.3]
    np.testing.assert_allclose(line.mean, [0.3, 0.35, 0.65])
    np.testing.assert_allclose([line.low[1], line.high[1]], t_interval([0.3, 0.4]))
    numbers = json.loads(json.dumps(to_json(compare(conditions), [])))['scales']
    assert numbers[0]['points'][1] == dict(
        scale=0.1, condition='c0.1', mean=pytest.approx(0.35), interval=pytest.approx([line.low[1], line.high[1]]),
        seeds=2,
    )  # fmt: skip


def test_one_seed_has_no_interval(condition):
    conditions = [condition(f'c{scale}', config(cct(scale)), (scale,)) for scale in (0.1, 0.3)]
    (series,) = series_of(conditions)
    assert [point.interval for point in series.points] == [None, None]
    group = next(group for group in chart_groups(conditions) if group.key == 'scales')
    line = group.rows[0][0].lines[0]
    assert line.low == line.high == line.mean
