"""Noises and scales of a sweep."""

import math

import pytest
from mmengine.config import Config

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.sweep import sweep_conditions, sweep_configs


def test_presets_are_crossed_with_scales():
    found = sweep_conditions(['cct', 'mean_normal=0.1', 'FDrop'], [0, 0.1, 1])
    assert found == {
        'cct_0.1': dict(noise=dict(type='FeatureNoise', preset='cct', scale=0.1)),
        'cct_1.0': dict(noise=dict(type='FeatureNoise', preset='cct', scale=1.0)),
        'mean_normal_0.1': dict(noise=dict(type='FeatureNoise', preset='mean_normal', scale=0.1), levels=[-1]),
        'FDrop': dict(noise=dict(type='FDrop')),
    }


@pytest.mark.parametrize(
    'presets, scales, message',
    [
        (['cat'], [0.1], '--preset cat: unknown noise cat, did you mean cct'),
        (['FDrop=0.1'], [], '--preset FDrop=0.1: FDrop has no scale'),
        (['cct=much'], [], "--preset cct=much: 'much' is not a number"),
        (['cct=0'], [], '--preset cct=0: the scale of a noise must be > 0, but got 0'),
        (['cct'], [-0.1], '--scale: the scale of a noise must be > 0, but got -0.1'),
        (['cct'], [math.nan], '--scale: the scale of a noise must be > 0, but got nan'),
        (['cct'], [0.1, 0.1], '--scale: a scale is given more than once'),
        (['cct', 'cct=0.1'], [0.1], '--preset: cct_0.1 is given more than once'),
    ],
)
def test_wrong_noises(presets, scales, message):
    with pytest.raises(InputError, match=message):
        sweep_conditions(presets, [float(scale) for scale in scales])


def test_noise_goes_where_it_was_published_for():
    model = dict(type='FasterRCNN', backbone=dict(type='ResNet'), neck=dict(type='FPN'))
    configs = sweep_configs(Config(dict(model=model)), sweep_conditions(['cct', 'uniform_20', 'mean_normal'], [0.5]))
    assert list(configs) == ['baseline', 'cct_0.5', 'uniform_20_0.5', 'mean_normal_0.5']
    assert configs['baseline'].model == model
    necks = [cfg.model.neck for cfg in configs.values()][1:]
    assert [neck.get('position') for neck in necks] == [None, 'post', None] and necks[2].levels == [-1]
    assert all(neck.noise.scale == 0.5 and neck.neck == dict(type='FPN') for neck in necks)
    with pytest.raises(InputError, match='already has F-Noise'):
        sweep_configs(configs['cct_0.5'], sweep_conditions(['cct'], [0.1]))


MODEL = dict(type='FasterRCNN', backbone=dict(type='ResNet', depth=50), neck=dict(type='FPN'))


def test_conditions_of_ones_own():
    baseline = Config(dict(model=MODEL, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4)))
    own = [
        ('longer', {'train_cfg.max_epochs': 8}),
        ('rare:cct', {'model.neck.noise.prob': 0.5}),
        ('strong:cct=0.7', {}),
        ('dropped:FDrop', {}),
    ]
    configs = sweep_configs(baseline, {}, own)
    assert list(configs) == ['baseline', 'longer', 'rare', 'strong', 'dropped']
    assert configs['longer'].train_cfg.max_epochs == 8 and configs['longer'].model == MODEL
    noises = [configs[name].model.neck.noise for name in ('rare', 'strong', 'dropped')]
    assert noises[0] == dict(type='FeatureNoise', preset='cct', prob=0.5)
    assert noises[1] == dict(type='FeatureNoise', preset='cct', scale=0.7) and noises[2] == dict(type='FDrop')
    assert configs['baseline'].train_cfg.max_epochs == 4 and configs['baseline'].model == MODEL


@pytest.mark.parametrize(
    'own, message',
    [
        ([('a/b', {})], '--condition a/b: a name has letters'),
        ([('..', {})], '--condition ..: a name has letters'),
        ([('one', {})], '--condition one: it is the same as the baseline'),
        ([('one:cat', {})], '--condition one:cat: unknown noise cat, did you mean cct'),
        ([('one:FDrop=1', {})], '--condition one:FDrop=1: FDrop has no scale'),
        ([('one', {'model.backbone.dept': 18})], 'model.backbone.dept is not used, did you mean model.backbone.depth'),
        ([('one:cct', {}), ('one:FDrop', {})], '--condition one:FDrop: the name one is taken'),
        ([('baseline:cct', {})], 'the name baseline is taken'),
        ([('report:cct', {})], 'the name report is taken'),
        ([], 'a sweep needs at least one condition: pass --scale > 0 or --condition'),
    ],
)
def test_wrong_conditions_of_ones_own(own, message):
    with pytest.raises(InputError, match=message):
        sweep_configs(Config(dict(model=MODEL)), sweep_conditions(['cct'], [0]), own)
