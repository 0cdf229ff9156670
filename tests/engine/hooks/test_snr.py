import math

import pytest

from fnoise_mmdet import SNRHook
from fnoise_mmdet.models.layers import OutputNoise, find_noise_layers


@pytest.mark.parametrize('scale', [0.1, 0.3])
def test_ratio_of_every_level_is_that_of_the_formula(train, read_rows, scale):
    runner = train(
        'demo_fnoise.py', custom_hooks=[dict(type='SNRHook', interval=2)], **{'model.neck.noise.scale': scale}
    )
    rows = [row for row in read_rows(runner) if 'loss' in row]
    assert 'snr_db_0' not in rows[0] and len(rows) == 4
    for level in range(4):
        # Down to 512 x 4 x 4 draws, few of whose features are not 0: spread about 0.1 dB.
        assert rows[1][f'snr_db_{level}'] == pytest.approx(10 * math.log10(3 / scale**2), abs=0.6)
    assert not [name for row in rows for name in row if '/' in name and 'snr' in name]


def test_only_perturbed_levels_are_logged(train, read_rows):
    runner = train('demo_fnoise.py', custom_hooks=[dict(type='SNRHook', interval=1)], **{'model.neck.levels': [-1]})
    names = {name for row in read_rows(runner) for name in row if name.startswith('snr')}
    assert names == {'snr_db_3'}


@pytest.mark.parametrize(
    'place, levels', [('pre:0,2', (0, 2)), ('stage', range(4)), ('stage:1,3', (1, 3)), ('roi', (0, 1)), ('roi:1', (1,))]
)
def test_other_places(train, read_rows, place, levels):
    runner = train('demo_baseline.py', fnoise=f'cct@{place}', custom_hooks=[dict(type='SNRHook', interval=1)])
    rows = [row for row in read_rows(runner) if 'loss' in row]
    assert {name for name in rows[0] if 'snr' in name} == {f'snr_db_{level}' for level in levels}
    for level in levels:
        assert rows[0][f'snr_db_{level}'] == pytest.approx(10 * math.log10(3 / 0.3**2), abs=0.6)
    assert not any(layer.watchers for layer in find_noise_layers(runner.model) if isinstance(layer, OutputNoise))


def test_measuring_changes_nothing(train, read_rows):
    losses = []
    for name, hooks in (('with', [dict(type='SNRHook', interval=1)]), ('without', [])):
        runner = train('demo_fnoise.py', name, custom_hooks=hooks)
        losses.append([row['loss'] for row in read_rows(runner) if 'loss' in row])
        assert not [m for m in runner.model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert losses[0] == losses[1]


def test_wrong_interval_is_refused():
    with pytest.raises(ValueError, match='interval must be >= 1, but got 0'):
        SNRHook(interval=0)
