import re

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS

from fnoise_mmdet import NoiseScheduleHook
from fnoise_mmdet.engine.preflight import check_hooks, check_model
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.models.necks import FNoiseNeck

RAMP = dict(type='NoiseScheduleHook', schedule='linear', end=4)


def logged(rows, name='noise_scale'):
    return [row[name] for row in rows if 'loss' in row]


def test_scale_follows_the_schedule_and_is_logged(train, read_rows):
    runner = train('demo_fnoise.py', custom_hooks=[RAMP, dict(type='SNRHook', interval=1)])
    rows = [row for row in read_rows(runner) if 'loss' in row]
    assert logged(rows) == pytest.approx([0, 0.075, 0.15, 0.225])
    assert 'snr_db_0' not in rows[0], 'no noise, no ratio'
    # Twice the scale is 6 dB less; the batches differ, so the draws weigh differently.
    assert rows[1]['snr_db_0'] - rows[2]['snr_db_0'] == pytest.approx(6.02, abs=0.5)
    (neck,) = find_noise_layers(runner.model)
    assert neck.noise.scale == 0.3, 'as configured again after the training'


def test_by_epoch(train, read_rows):
    hook = dict(type='NoiseScheduleHook', schedule='step', by_epoch=True, milestones=[1], gamma=0.5)
    runner = train('demo_fnoise.py', custom_hooks=[hook], **{'train_cfg.max_epochs': 2})
    assert logged(read_rows(runner)) == pytest.approx([0.3] * 4 + [0.15] * 4)


def test_by_epoch_needs_training_by_epoch(train):
    """The epoch of an iteration-based training is always 0, and so would be the noise."""
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=4)
    with pytest.raises(InputError, match='by_epoch=True needs an EpochBasedTrainLoop, .* by_epoch=False'):
        train('demo_fnoise.py', custom_hooks=[dict(RAMP, by_epoch=True)], train_cfg=loop)


def test_end_defaults_to_that_of_the_training(train, read_rows):
    runner = train('demo_fnoise.py', custom_hooks=[dict(type='NoiseScheduleHook', schedule='cosine')])
    assert logged(read_rows(runner)) == pytest.approx([0, 0.3 * 0.146447, 0.15, 0.3 * 0.853553], abs=1e-6)


def test_a_schedule_of_zero_is_the_baseline(train, read_rows):
    """Scale 0 over a whole epoch gives the losses of the plain detector to the last bit."""
    off = dict(type='NoiseScheduleHook', schedule='constant', end_factor=0)
    losses = []
    for name, config, hooks in [('off', 'demo_fnoise.py', [off]), ('plain', 'demo_baseline.py', [])]:
        rows = read_rows(train(config, name, custom_hooks=hooks))
        losses.append([{key: row[key] for key in row if 'loss' in key} for row in rows])
    assert losses[0] == losses[1] and len(losses[0][0]) > 4


def test_resumed_training_continues_the_schedule(train, read_rows, tmp_path):
    two = {'train_cfg.max_epochs': 2}
    ramp = dict(type='NoiseScheduleHook', schedule='linear', end=8)
    whole = logged(read_rows(train('demo_fnoise.py', 'whole', custom_hooks=[ramp], **two)))
    train('demo_fnoise.py', 'half', custom_hooks=[ramp])
    resumed = train(
        'demo_fnoise.py', 'rest', custom_hooks=[ramp], resume=True, load_from=str(tmp_path / 'half/epoch_1.pth'), **two
    )
    assert logged(read_rows(resumed)) == whole[4:] and whole == pytest.approx([0.3 * i / 8 for i in range(8)])


def test_another_setting_of_another_noise(train, read_rows):
    hook = dict(RAMP, setting='drop_prob')
    neck = {'model.neck.noise': dict(_delete_=True, type='FeatureDropBlock', drop_prob=0.2, block_size=3)}
    rows = read_rows(train('demo_fnoise.py', custom_hooks=[hook], **neck))
    assert logged(rows, 'noise_drop_prob') == pytest.approx([0, 0.05, 0.1, 0.15])


def test_without_noise_nothing_happens(train, read_rows):
    rows = read_rows(train('demo_baseline.py', custom_hooks=[RAMP, dict(type='SNRHook', interval=1)]))
    assert not [name for row in rows for name in row if re.match('noise|snr', name)]


def test_unknown_setting_is_reported_before_the_training(root):
    cfg = Config.fromfile(root / 'configs/demo_fnoise.py')
    cfg.model.neck.noise = dict(type='DSU')
    cfg.custom_hooks = [RAMP]
    with pytest.raises(
        InputError, match=r"custom_hooks\[0\] .* numeric setting of the noise, but DSU\(prob=0.5\) has no 'scale'"
    ):
        check_hooks(cfg, check_model(cfg))


@pytest.mark.parametrize(
    ('noise', 'setting', 'strengths'),
    [
        (dict(type='FeatureDropBlock'), 'block_size', 'prob, drop_prob'),
        (dict(type='MixStyle'), 'alpha', 'prob'),
        (dict(type='FDrop'), 'high', 'prob'),
    ],
)
def test_only_strengths_are_scheduled(noise, setting, strengths):
    """Other numbers have no value that means no noise."""
    hook = NoiseScheduleHook('linear', setting=setting)
    with pytest.raises(InputError, match=f"has no '{setting}' among its strengths {strengths}"):
        hook.configured_values(FNoiseNeck(None, noise))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(schedule='square'), r"schedule must be one of .*, but got 'square'"),
        (dict(schedule='linear', begin=-1), 'begin must be >= 0 and end >= begin, but got begin=-1'),
        (dict(schedule='linear', begin=5, end=4), 'but got begin=5 and end=4'),
        (dict(schedule='linear', start_factor=-0.5), r'start_factor must be in \[0, 1\], but got -0.5'),
        (dict(schedule='linear', end_factor=2), r'end_factor must be in \[0, 1\], but got 2'),
        (dict(schedule='step'), r"milestones must be given for 'step' and only then"),
        (dict(schedule='linear', milestones=[3]), r"milestones must be given for 'step' and only then"),
        (dict(schedule='step', milestones=[5, 3]), r'milestones must increase, but got \[5, 3\]'),
        (dict(schedule='step', milestones=[3], gamma=1.5), r'gamma must be in \[0, 1\], but got 1.5'),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NoiseScheduleHook(**settings)


def test_registered():
    assert isinstance(HOOKS.build(dict(RAMP)), NoiseScheduleHook)
