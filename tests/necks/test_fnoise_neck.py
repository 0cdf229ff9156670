import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch.utils.checkpoint import checkpoint

from fnoise_mmdet import FeatureNoise, FNoiseNeck

# With a norm layer, so that buffers travel too.
FPN = dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=3, norm_cfg=dict(type='BN'))


@pytest.fixture(autouse=True)
def hub():
    """A run of its own for every test: seed 5, iteration 100."""
    init_default_scope('mmdet')
    hub = MessageHub.get_instance(f'test_{torch.randint(2**31, ()).item()}')
    hub.update_info('seed', 5)
    hub.update_info('iter', 100)
    return hub


@pytest.fixture
def features() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4 * 2**i, 16 // 2**i, 16 // 2**i, generator=generator) for i in range(2))


def build(**settings) -> FNoiseNeck:
    return MODELS.build(dict(type='FNoiseNeck', neck=FPN, **settings))


def watch(neck: FNoiseNeck) -> list[tuple[torch.Tensor, ...]]:
    """Collect what goes into the inner neck."""
    seen: list[tuple[torch.Tensor, ...]] = []
    neck.neck.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


def changed(before, after) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, after)]


def test_registered_and_default_noise_is_cct():
    neck = build()
    assert isinstance(neck, FNoiseNeck)
    assert isinstance(neck.noise, FeatureNoise)
    assert (neck.noise.preset, neck.noise.scale) == ('cct', 0.3)
    assert "preset='cct', scale=0.3" in repr(neck) and "levels=None, position='pre'" in repr(neck)


def test_same_tensors_in_evaluation_and_at_scale_zero(features):
    for neck in (build().eval(), build(noise=dict(type='FeatureNoise', scale=0))):
        seen = watch(neck)
        neck(features)
        assert all(a is b for a, b in zip(seen[0], features))


def test_outputs_in_evaluation_are_the_plain_neck_s(features):
    neck = build().eval()
    plain = MODELS.build(FPN).eval()
    plain.load_state_dict(neck.state_dict())
    assert not any(changed(plain(features), neck(features)))


def test_every_level_is_perturbed_by_the_formula(features):
    neck = build()
    seen = watch(neck)
    neck(features)
    for level, (x, y) in enumerate(zip(features, seen[0])):
        assert torch.equal(y, neck.noise.perturb(x, (5, 0, 100, 0, level)))
        assert not torch.equal(x, y)


@pytest.mark.parametrize(('levels', 'expected'), [([0], [True, False]), ([-1], [False, True]), ([], [False, False])])
def test_levels(features, levels, expected):
    neck = build(levels=levels)
    seen = watch(neck)
    neck(features)
    assert changed(features, seen[0]) == expected


def test_post_perturbs_the_outputs(features):
    neck = build(position='post', levels=[2])
    seen = watch(neck)
    plain = copy.deepcopy(neck.neck)
    outputs = neck(features)
    assert seen[0] is features
    assert changed(plain(features), outputs) == [False, False, True]


def noise_of(neck, features, hub, iteration):
    hub.update_info('iter', iteration)
    seen = watch(neck)
    neck(features)
    return seen[0]


def test_noise_is_a_function_of_seed_iteration_call_and_level(features, hub):
    neck = build()
    first = noise_of(neck, features, hub, 100)
    assert all(changed(first, noise_of(neck, features, hub, 100))), 'the second call of an iteration'
    assert all(changed(first, noise_of(neck, features, hub, 101))), 'another iteration'
    assert not any(changed(first, noise_of(neck, features, hub, 100))), 'the iteration run again'
    assert not any(changed(first, noise_of(build(), features, hub, 100))), 'another object, as after a resume'
    hub.update_info('seed', 6)
    assert all(changed(first, noise_of(build(), features, hub, 100))), 'another seed'
    same = torch.ones(1, 2, 8, 8)
    levels = build(noise=dict(type='FeatureNoise'))._perturb((same, same), 0, neck.noise)
    assert not torch.equal(*levels), 'another level'


def test_ranks_differ(features, monkeypatch):
    first = build().preview(features)
    monkeypatch.setattr('fnoise_mmdet.necks.fnoise_neck.get_rank', lambda: 1)
    assert all(changed(first, build().preview(features)))


def test_global_stream_is_left_alone(features):
    neck = build()
    before = torch.get_rng_state()
    neck(features)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('reentrant', [False, True])
def test_gradient_checkpointing_repeats_the_noise_of_each_call(features, reentrant):
    neck = build()
    seen = watch(neck)
    passes = [tuple((x * factor).requires_grad_() for x in features) for factor in (1, 2, 3)]
    outputs = [checkpoint(lambda *x: neck(x), *x, use_reentrant=reentrant) for x in passes]
    # Backward through the calls in an order of its own.
    for i in (1, 0, 2):
        outputs[i][0].sum().backward()
    first, repeated = seen[:3], seen[3:]
    assert len(repeated) == 3
    for i, again in zip((1, 0, 2), repeated):
        assert not any(changed(first[i], again))


def test_preview_is_what_training_would_do(features):
    neck = build()
    seen = watch(neck)
    neck(features)
    assert not any(changed(seen[0], neck.eval().preview(features)))


@pytest.mark.parametrize('get', [lambda module: module.state_dict(), get_state_dict], ids=['torch', 'mmengine'])
def test_checkpoint_is_the_plain_detector_s(get):
    class Detector(torch.nn.Module):
        def __init__(self, neck):
            super().__init__()
            self.neck = MODELS.build(neck)

    plain, noisy = Detector(FPN), Detector(dict(type='FNoiseNeck', neck=FPN))
    assert list(get(noisy)) == list(get(plain))
    plain.load_state_dict(get(noisy), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters()))

    other = Detector(FPN)
    noisy.load_state_dict(get(other), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), noisy.parameters()))
    load_state_dict(noisy, get(plain), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters()))
    with pytest.raises(RuntimeError, match='[Mm]issing'):
        noisy.load_state_dict({}, strict=True)
    with pytest.raises(RuntimeError, match='[Uu]nexpected'):
        noisy.load_state_dict({**get(plain), 'neck.other': torch.ones(1)}, strict=True)


def test_no_parameter_or_buffer_of_its_own():
    neck, plain = build(), MODELS.build(FPN)
    assert len(list(neck.parameters())) == len(list(plain.parameters()))
    assert len(list(neck.buffers())) == len(list(plain.buffers()))


def test_deep_copy_is_independent(features):
    neck = build()
    twin = copy.deepcopy(neck)
    assert list(twin.state_dict()) == list(neck.state_dict())
    for parameter in twin.parameters():
        torch.nn.init.zeros_(parameter)
    assert any(p.abs().sum() for p in neck.parameters())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(levels=[2]), r'levels must be in \[-2, 1\] for 2 levels, but got 2'),
        (dict(levels=[-3]), r'levels must be in \[-2, 1\] for 2 levels, but got -3'),
        (dict(levels=[3], position='post'), r'levels must be in \[-3, 2\] for 3 levels, but got 3'),
        (dict(levels=1), 'levels must be a list of integers, but got 1'),
        (dict(levels=['C5']), r"levels must be a list of integers, but got \['C5'\]"),
        (dict(position='middle'), r"position must be one of \('pre', 'post'\), but got 'middle'"),
        (dict(noise=dict(type='FeatureNoise', scale=-1)), r'scale must be >= 0 and finite, but got -1'),
    ],
)
def test_wrong_settings_are_refused_when_built(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
