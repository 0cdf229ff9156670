"""What holds for every noise, of whatever settings, on features of whatever shape."""

import inspect

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fnoise_mmdet.noise import (
    DSU,
    NOISES,
    PRESETS,
    AntitheticNoise,
    ChannelDropout,
    FDrop,
    FeatureDropBlock,
    FeatureNoise,
    MixStyle,
    NormalizationPerturbation,
)
from fnoise_mmdet.noise.feature_noise import BIASES, DISTRIBUTIONS, MAGNITUDES, SHARES, add_noise

# The same cases in every run: what fails here fails everywhere.
settings.register_profile('fixed', derandomize=True, max_examples=300, deadline=None, database=None)
settings.load_profile('fixed')

UNIT = st.floats(0, 1)
SCALE = st.floats(0, 10)
SHARE = st.just('none') | st.sampled_from(list(SHARES)) | st.lists(st.sampled_from(list(SHARES)), unique=True)
FEATURE_NOISES = st.builds(
    FeatureNoise,
    st.sampled_from(list(PRESETS)),
    magnitude=st.none() | st.sampled_from(list(MAGNITUDES)),
    distribution=st.none() | st.sampled_from(list(DISTRIBUTIONS)),
    share=st.none() | SHARE,
    scale=st.none() | SCALE,
    bias=st.none() | st.sampled_from(BIASES),
    detach_statistics=st.booleans(),
    prob=UNIT,
)
ANY_NOISE = st.one_of(
    FEATURE_NOISES,
    st.builds(AntitheticNoise, share=st.none() | SHARE, scale=st.none() | SCALE, prob=UNIT),
    st.tuples(UNIT, UNIT).map(sorted).flatmap(lambda pair: st.builds(FDrop, *map(st.just, pair), prob=UNIT)),
    st.builds(FeatureDropBlock, UNIT, st.integers(1, 12), prob=UNIT),
    st.builds(ChannelDropout, st.floats(0, 0.99), prob=UNIT),
    st.builds(NormalizationPerturbation, SCALE, prob=UNIT),
    st.builds(DSU, prob=UNIT),
    st.builds(MixStyle, st.floats(0.01, 10), prob=UNIT),
)
KEYS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([*PRESETS, *MAGNITUDES, *DISTRIBUTIONS, *SHARES, *BIASES]),
    st.lists(st.integers() | st.sampled_from(list(SHARES)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def features(draw, dtypes=(torch.float32, torch.float64, torch.bfloat16, torch.float16)):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 8), st.integers(1, 8)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    x = torch.randn(shape, generator=generator) * draw(st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
    if draw(st.booleans()):
        x = x.relu()  # as of most backbones: half of it is zero
    memory_format = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return x.to(draw(st.sampled_from(dtypes))).contiguous(memory_format=memory_format)


@given(ANY_NOISE, features(), KEYS)
def test_a_noise_is_a_function_of_features_and_key_alone(noise, x, key):
    before, state = x.clone(), torch.get_rng_state()
    y = noise(x, key)
    assert y.shape == x.shape and y.dtype == x.dtype and y.isfinite().all()
    assert torch.equal(y, noise(x, key))
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)
    assert noise.eval()(x, key) is x
    assert torch.equal(noise.perturb(x, key), y)


@given(ANY_NOISE, features([torch.float32]), KEYS)
def test_gradients_are_finite(noise, x, key):
    x = x.requires_grad_()
    noise(x, key).sum().backward()
    assert x.grad.shape == x.shape and x.grad.isfinite().all()


@given(FEATURE_NOISES, features([torch.float64]), KEYS)
def test_feature_noise_is_its_formula(noise, x, key):
    sample, chosen = noise._draw(x, key)
    eps = sample.double().expand_as(x).numpy()
    values = x.numpy()
    axes = {'channel': (2, 3), 'channel_l2': (2, 3), 'sample': (1, 2, 3), 'batch': None, 'l2': None}
    if noise.magnitude in axes:
        reduce = np.sum if noise.magnitude == 'channel_l2' else np.mean
        magnitude = np.sqrt(reduce(values**2, axis=axes[noise.magnitude], keepdims=True))
    else:
        magnitude = dict(element=values, mean=abs(values.mean()), one=1.0)[noise.magnitude]
    expected = values + noise.scale * magnitude * eps + (values.mean() if noise.bias == 'mean' else 0)
    for index, gate in enumerate([True] * len(x) if chosen is None else chosen.flatten().tolist()):
        if not gate or noise.is_off:
            expected[index] = values[index]
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-6, atol=1e-6 * max(1, abs(values).max()))


@given(features([torch.float64]), st.sampled_from(list(MAGNITUDES)), st.floats(1e-3, 1e3))
def test_noise_is_proportional_to_the_features(x, magnitude, factor):
    """Features of another unit get the same noise in that unit, but for magnitude 'one', which is a control."""
    assume(magnitude != 'one')
    eps = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape)
    torch.testing.assert_close(
        add_noise(x * factor, eps, 0.3, magnitude),
        add_noise(x, eps, 0.3, magnitude) * factor,
        rtol=1e-9,
        atol=0,
    )


@given(st.sampled_from(NOISES), st.data())
def test_settings_are_taken_or_refused_by_name(cls, data):
    names = list(inspect.signature(cls).parameters)
    given_settings = data.draw(st.dictionaries(st.sampled_from(names), JUNK, max_size=3))
    try:
        noise = cls(**given_settings)
    except ValueError as error:
        assert any(name in str(error) for name in given_settings)
        return
    y = noise(torch.ones(2, 3, 4, 4), (0, 1))
    assert y.shape == (2, 3, 4, 4)
