"""What holds for every noise."""

import copy
import random

import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import NOISES, PRESETS, FeatureNoise, Noise

FACTORIES = {cls.__name__: cls for cls in NOISES}
FACTORIES |= {name: lambda preset=name, **settings: FeatureNoise(preset, **settings) for name in PRESETS}


@pytest.fixture(params=FACTORIES)
def build(request):
    """A noise that perturbs every sample, unless told otherwise."""
    return lambda **settings: FACTORIES[request.param](**{'prob': 1.0, **settings})


def test_same_tensor_in_evaluation_and_where_off(build, x, key):
    assert build().eval()(x, key) is x
    for name in build().strengths:
        off = build(**{name: 0})
        assert off.is_off and off(x, key) is x and off.perturb(x, key) is x, name


def test_every_input_is_perturbed_in_training(build, key):
    x = torch.randn(3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(build()(x, key), x)


def test_perturb_is_what_training_does_in_any_mode(build, x, key):
    noise = build()
    trained = noise(x, key)
    assert torch.equal(noise.eval().perturb(x, key), trained)


def test_repeatable_and_stateless(build, x, key):
    noise = build()
    first = noise(x, key)
    noise(x, (0, 0))
    assert torch.equal(noise(x, key), first) and torch.equal(copy.deepcopy(noise)(x, key), first)
    assert torch.equal(build()(x, key), first)
    if not isinstance(noise, FACTORIES['FDrop']):  # drops the same places for thresholds that are near
        assert not torch.equal(noise(x, (*key[:-1], 2)), first)
    assert not noise.state_dict() and not list(noise.parameters()) and not list(noise.buffers())


def test_without_a_key_it_is_drawn_from_torchs_stream(build, x):
    noise = build(prob=1)
    torch.manual_seed(0)
    first, second = noise(x), noise(x)
    torch.manual_seed(0)
    assert torch.equal(noise(x), first)
    if not isinstance(noise, FACTORIES['FDrop']):  # drops the same places for thresholds that are near
        assert not torch.equal(first, second)
    state = torch.get_rng_state()
    noise.eval()(x)
    build(prob=0)(x)
    assert torch.equal(torch.get_rng_state(), state)


def test_global_streams_are_left_alone(build, x, key):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    build(prob=0.5)(x, key)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1]) and random.getstate() == before[2]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_format_are_kept_and_numbers_too(build, x, key, dtype, memory_format):
    noise = build()
    exact = noise(x, key)
    y = noise(x.to(dtype).to(memory_format=memory_format), key)
    assert y.dtype == dtype and y.is_contiguous(memory_format=memory_format)
    # A few roundings of numbers up to about 10, whatever the dtype: the draw is the same.
    assert (y.double() - exact).abs().max() < 40 * torch.finfo(dtype).eps


def test_half_precision_does_not_overflow(build, key):
    x = torch.full((2, 64, 64, 64), 100.0, dtype=torch.float16)  # the sum of squares is 5e9
    assert build()(x, key).isfinite().all()


def test_input_is_not_changed(build, x, key):
    before = x.clone()
    build(prob=0.5)(x, key)
    assert torch.equal(x, before)


def test_gradient_flows_and_is_finite(build, x, key):
    x.requires_grad_()
    build()(x, key).square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()


# These hold statistics of x constant.
@pytest.mark.parametrize('cls', [cls for cls in NOISES if cls.__name__ not in ('MixStyle', 'AdversarialNoise')])
@pytest.mark.parametrize('prob', [0.5, 1.0])
def test_gradient_is_that_of_the_formula(x, key, cls, prob):
    noise = cls(prob=prob)
    assert torch.autograd.gradcheck(lambda z: noise(z, key), x.requires_grad_())


@pytest.mark.parametrize('shape', [(1, 3, 4, 4), (2, 3, 1, 1), (1, 1, 1, 1)])
def test_a_batch_of_one_and_a_map_of_one_element_give_numbers(build, key, shape):
    x = torch.full(shape, 2.0)
    assert build()(x, key).isfinite().all()
    assert build()(torch.zeros(shape), key).isfinite().all()


def test_prob_decides_for_each_sample(build, key):
    x = torch.randn(1000, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    perturbed = [(y != x).flatten(1).any(dim=1) for y in (build(prob=p)(x, key) for p in (0.3, 1))]
    # F-Drop or DropBlock may find nothing to drop in a sample: what is left counts.
    share = perturbed[0][perturbed[1]].float().mean()
    # Standard deviation of a share of up to 1000 samples 0.0145, of 500 0.02; 5 of them.
    assert share == pytest.approx(0.3, abs=0.1)
    whole, gated = build(prob=1)(x, key), build(prob=0.3)(x, key)
    assert torch.equal(gated[perturbed[0]], whole[perturbed[0]])


def test_compiles(build, x, key):
    torch._dynamo.reset()
    noise = build()
    expected = noise(x, key)
    torch.testing.assert_close(torch.compile(noise, backend='aot_eager')(x, key), expected)
    noise.eval()
    evaluate = torch.compile(lambda features: noise(features, key) * 2, backend='aot_eager', fullgraph=True)
    assert torch.equal(evaluate(x), x * 2), 'one graph, and no noise'


@pytest.mark.parametrize(
    ('features', 'error', 'message'),
    [
        (torch.ones(1, 2, 3, 3, dtype=torch.int64), TypeError, 'a floating dtype, but is a tensor of torch.int64'),
        (torch.ones(1, 2, 3, 3, dtype=torch.bool), TypeError, 'a floating dtype, but is a tensor of torch.bool'),
        (torch.ones(1, 2, 3, 3, dtype=torch.complex64), TypeError, 'a floating dtype'),
        ([1.0], TypeError, 'a floating dtype, but is of type list'),
        (torch.ones(0, 2, 3, 3), ValueError, r'\(B, C, H, W\), but has \(0, 2, 3, 3\)'),
        (torch.ones(1, 2, 0, 3), ValueError, r'but has \(1, 2, 0, 3\)'),
        (torch.ones(2, 3), ValueError, r'\(B, C, H, W\), but has \(2, 3\)'),
    ],
)
def test_wrong_features_are_refused(build, key, features, error, message):
    with pytest.raises(error, match=message):
        build()(features, key)


def test_wrong_probability_is_refused(build):
    for prob in (-0.1, 1.1, float('nan'), 'often', None):
        with pytest.raises(ValueError, match=r'prob must be in \[0, 1\], but got'):
            build(prob=prob)


def test_repr_shows_the_settings(build):
    assert 'prob=0.25' in repr(build(prob=0.25))


def test_a_noise_must_say_what_it_does(x, key):
    with pytest.raises(NotImplementedError):
        Noise()(x, key)


@pytest.mark.parametrize(
    ('noise', 'words'),
    [
        (
            FeatureNoise('mean_normal'),
            'FeatureNoise: magnitude one, distribution normal, share batch and channel, scale 0.1, bias mean, '
            'detach statistics, prob 1',
        ),
        (
            FeatureNoise(share='none', detach_statistics=False, prob=0.5),
            'FeatureNoise: magnitude element, distribution uniform, share none, scale 0.3, bias none, '
            'no detach statistics, prob 0.5',
        ),
    ],
)
def test_settings_in_words(noise, words):
    assert noise.describe() == words
