import math

import numpy as np
import pytest

from fnoise_mmdet.comparison import Condition, compare, verdict
from fnoise_mmdet.comparison.measures import collect_measures
from fnoise_mmdet.errors import InputError


def conditions(make_run, baseline=(0.0, 0.1, 0.2), fnoise=(0.5, 0.7, 0.6), **more):
    def runs(name, offsets):
        return [
            make_run(f'{name}/{seed}', offset, record=dict(seed=seed), **more) for seed, offset in enumerate(offsets)
        ]

    return [Condition('baseline', runs('baseline', baseline), []), Condition('fnoise', runs('fnoise', fnoise), [])]


def test_figures_of_one_pair(make_run):
    found = compare(conditions(make_run, [0.0], [0.5]))
    measures = {measure.key: measure for measure in found.measures}
    assert measures['loss'].values == {'baseline': {0: 5.0}, 'fnoise': {0: 5.5}}  # iterations 4 to 6
    assert measures['coco/bbox_mAP'].mean('fnoise') == pytest.approx(0.7)
    assert measures['time'].mean('baseline') == pytest.approx(0.4)  # of 0.2 to 0.6, without the first
    assert found.measures[0].key == 'coco/bbox_mAP', 'the verdict is about the AP'
    difference = found.difference('loss', 'fnoise')
    assert difference.mean == 0.5 and difference.seeds is None
    assert difference.conclusion == 'one pair'


def test_differences_are_paired_by_seed(make_run):
    """Against the textbook's formula: mean ± t(0.975, 2) s / sqrt(3) of the differences 0.5, 0.6, 0.4."""
    difference = compare(conditions(make_run)).difference('loss', 'fnoise')
    assert difference.by_seed == pytest.approx({0: 0.5, 1: 0.6, 2: 0.4})
    reach = 4.302652729749462 * 0.1 / math.sqrt(3)
    assert difference.seeds == pytest.approx((0.5 - reach, 0.5 + reach))
    assert difference.conclusion == 'higher', 'noise raises the training loss: that is not worse'
    assert compare(conditions(make_run)).difference('coco/bbox_mAP', 'fnoise').conclusion == 'helps'
    assert compare(conditions(make_run)).difference('val_loss', 'fnoise').conclusion == 'helps'


def test_seeds_of_one_condition_alone_count_in_no_difference(make_run):
    found = compare(conditions(make_run, [0.0, 0.1], [0.5, 0.6, 0.7]))
    assert sorted(found.difference('loss', 'fnoise').by_seed) == [0, 1]
    assert found.measures[0].mean('fnoise') == pytest.approx(0.2 + 0.6)


def test_nan_is_shown_and_counts_in_no_difference(make_run):
    pair = conditions(make_run)
    for row in pair[1].runs[1].train[3:]:
        row['loss'] = math.nan
    found = compare(pair)
    assert sorted(found.difference('loss', 'fnoise').by_seed) == [0, 2]
    assert math.isnan(next(one for one in found.measures if one.key == 'loss').mean('fnoise'))
    assert 'fnoise/1 diverged' in ' '.join(verdict(found))


def test_run_without_validation(make_run):
    pair = conditions(make_run, [0.0], [0.5])
    pair[1].runs[0].val.clear()
    found = compare(pair)
    measure = next(one for one in found.measures if one.key == 'coco/bbox_mAP')
    assert measure.mean('fnoise') is None and found.difference('coco/bbox_mAP', 'fnoise') is None


def test_runs_without_a_common_loss(make_run):
    pair = conditions(make_run, [0.0], [0.5])
    for row in pair[1].runs[0].train:
        row['loss_seg'] = row.pop('loss')
        del row['loss_cls']
    with pytest.raises(InputError, match='baseline/0 and fnoise/0 have no loss in common'):
        compare(pair)


def test_three_conditions_are_each_compared_with_the_first(make_run):
    pair = conditions(make_run)
    third = Condition('weak', conditions(make_run, fnoise=(0.1, 0.1, 0.1))[1].runs, [])
    found = compare([*pair, third])
    assert found.difference('loss', 'weak').mean == pytest.approx(0.0)
    assert {one.reference for one in found.differences} == {'baseline'}


def test_interval_covers_as_often_as_it_says():
    """Of 2000 experiments with 3 seeds and no effect, 5 % may say otherwise: 3.5 to 6.5 % within 3 standard errors."""
    from fnoise_mmdet.comparison.intervals import t_interval

    rng = np.random.default_rng(0)
    wrong = np.mean([t_interval(rng.normal(size=3)).excludes_zero() for _ in range(2000)])
    assert 0.035 < wrong < 0.065


@pytest.mark.parametrize('undefined', [{'coco/objects': 0}, {'coco/bbox_mAP': -1, 'coco/bbox_mAP_50': -1}])
def test_an_undefined_ap_is_no_measure(make_run, undefined):
    run = make_run('a')
    run = run._replace(val=[{**undefined, 'val_loss': 1.0, 'step': 1}])
    keys = [one.key for one in collect_measures([Condition('a', [run], [])], ['loss'])]
    assert 'val_loss' in keys and not [key for key in keys if key.startswith('coco/')]


@pytest.mark.parametrize(
    ('metric', 'value', 'better', 'margin'),
    [
        ('crowd_human/mMR', 0.4, 'lower', None),
        ('coco_panoptic/PQ', 40.0, 'higher', None),
        ('voc/mAP', 0.4, 'higher', 0.01),
        ('voc/mAP', 0.019, 'higher', None),  # where a model that detects nothing would be equivalent
        ('mine/latency', 0.4, '', None),
    ],
)
def test_metrics_of_other_data_sets_have_a_direction(make_run, metric, value, better, margin):
    run = make_run('a')._replace(val=[{metric: value, 'step': 1}])
    measure = next(collect_measures([Condition('a', [run], [])], []))
    assert (measure.key, measure.better, measure.margin) == (metric, better, margin)


def test_average_precision_is_the_first_of_other_metrics(make_run):
    run = make_run('a')._replace(val=[{'crowd_human/JI': 0.5, 'crowd_human/mAP': 0.4, 'step': 1}])
    assert [one.key for one in collect_measures([Condition('a', [run], [])], [])][:2] == [
        'crowd_human/mAP',
        'crowd_human/JI',
    ]


def test_losses_of_a_semi_supervised_training_by_stream(make_run):
    losses = dict(loss=3.0, sup_loss_cls=1.0, sup_loss_mask=0.5, feature_loss_cls=1.5)
    run = make_run('a')
    run = run._replace(
        train=[dict(losses, step=1, iter=1)], epochs=[], val=[dict(val_loss=1.0, val_loss_cls=0.7, step=1)]
    )
    found = {one.key: one for one in collect_measures([Condition('a', [run], [])], run.losses())}
    labels = {key: one.label for key, one in found.items()}
    assert labels['sup_loss'] == 'training loss, labelled images' and found['sup_loss'].mean('a') == 1.5
    assert labels['feature_loss'] == 'training loss, unlabelled images' and found['feature_loss'].mean('a') == 1.5
    assert labels['sup_loss_cls'] == 'training loss, labelled images: cls' and found['sup_loss_cls'].is_component
    assert labels['val_loss_cls'] == 'validation loss: cls' and found['val_loss_cls'].mean('a') == 0.7
    assert 'unsup_loss' not in found
