import math

import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import PRESETS, FeatureNoise, make_generator

KEY = (3, 0, 17, 0, 1)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def naive_cct(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """y = x + x n, one n of shape (C, H, W) for the whole batch."""
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + x[b, c, i, j] * n[c, i, j]
    return y


def naive_mean_normal(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """y = x + n, n of shape (H, W) with the mean of x, for all samples and channels."""
    y = np.empty_like(x)
    mean = sum(x.flat) / x.size
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + (mean + n[i, j])
    return y


@pytest.mark.parametrize(
    ('preset', 'naive', 'scale'),
    [('cct', naive_cct, 0.3), ('cct', naive_cct, 1.5), ('mean_normal', naive_mean_normal, 0.1)],
)
def test_preset_is_its_formula(x, preset, naive, scale):
    eps = PRESETS[preset].sample(x, make_generator(KEY)).numpy()
    y = FeatureNoise(preset, scale)(x, KEY)
    np.testing.assert_allclose(y.numpy(), naive(x.numpy(), scale * eps), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('preset', 'scale'), [('cct', 0.3), ('mean_normal', 0.1)])
def test_default_scale_is_the_published_one(preset, scale):
    assert FeatureNoise(preset).scale == scale


def test_cct_has_the_statistics_of_its_paper():
    x = torch.ones(1, 100, 100, 100)
    noise = FeatureNoise('cct')(x, KEY) - x
    # A million uniform draws: the mean's standard error is 0.3 / sqrt(3) / 1000 = 0.00017; 6 of them.
    assert abs(noise.mean()) < 0.001
    assert noise.std() == pytest.approx(0.3 / math.sqrt(3), rel=0.005)
    assert noise.abs().max() <= 0.3 + 1e-6
    assert noise.abs().max() > 0.2999


def test_cct_keeps_signs_and_zeros(x):
    x[0, 0] = 0
    assert torch.equal(FeatureNoise('cct')(x, KEY).sign(), x.sign())


def test_cct_draws_once_for_the_batch_and_apart_for_channels_and_places():
    x = torch.ones(2, 3, 8, 8)
    y = FeatureNoise('cct')(x, KEY)
    assert torch.equal(y[0], y[1])
    assert y[0].unique().numel() > 0.95 * y[0].numel()


def test_mean_normal_draws_once_for_batch_and_channels():
    x = torch.full((2, 3, 200, 200), 5.0)
    noise = FeatureNoise('mean_normal')(x, KEY) - x
    assert torch.allclose(noise, noise[:1, :1].expand_as(noise), atol=1e-5)
    # 40,000 normal draws: standard error of the mean 0.0005, of the deviation 0.00035; 6 of them.
    assert noise.mean() == pytest.approx(5.0, abs=0.003)
    assert noise[0, 0].std() == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize('preset', PRESETS)
def test_same_tensor_in_evaluation_and_at_scale_zero(x, preset):
    assert FeatureNoise(preset).eval()(x, KEY) is x
    assert FeatureNoise(preset, scale=0)(x, KEY) is x
    assert FeatureNoise(preset, scale=0).perturb(x, KEY) is x


@pytest.mark.parametrize('preset', PRESETS)
def test_perturb_is_what_training_does_in_any_mode(x, preset):
    noise = FeatureNoise(preset)
    trained = noise(x, KEY)
    assert torch.equal(noise.eval().perturb(x, KEY), trained)


@pytest.mark.parametrize('preset', PRESETS)
def test_repeatable_stateless_and_apart_from_the_global_stream(x, preset):
    noise = FeatureNoise(preset)
    before = torch.get_rng_state()
    first = noise(x, KEY)
    noise(x, (0, 0))
    assert torch.equal(noise(x, KEY), first)
    assert not torch.equal(noise(x, (*KEY[:-1], 2)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not noise.state_dict() and not list(noise.parameters()) and not list(noise.buffers())


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_and_memory_format_are_kept(preset, dtype):
    x = torch.ones(2, 4, 6, 6, dtype=dtype).to(memory_format=torch.channels_last)
    y = FeatureNoise(preset)(x, KEY)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(y, x)


@pytest.mark.parametrize('preset', PRESETS)
def test_input_is_not_changed(x, preset):
    copy = x.clone()
    FeatureNoise(preset)(x, KEY)
    assert torch.equal(x, copy)


def test_gradient_is_that_of_the_formula(x):
    noise = FeatureNoise('cct')
    assert torch.autograd.gradcheck(lambda z: noise(z, KEY), x.requires_grad_())


def test_mean_of_mean_normal_is_held_constant(x):
    x.requires_grad_()
    FeatureNoise('mean_normal')(x, KEY).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(preset='cctt'), r"preset must be one of \['cct', 'mean_normal'\], but got 'cctt'"),
        (dict(scale=-0.3), r'scale must be >= 0 and finite, but got -0.3'),
        (dict(scale=math.nan), 'scale must be >= 0'),
        (dict(scale='strong'), "scale must be >= 0 and finite, but got 'strong'"),
        (dict(scale=math.inf), 'scale must be >= 0'),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureNoise(**arguments)


def test_repr_shows_every_setting():
    assert repr(FeatureNoise('cct', 0.2)) == "FeatureNoise(preset='cct', scale=0.2)"
