import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import PRESETS, AntitheticNoise, FeatureNoise, Noise, make_generator
from fnoise_mmdet.noise.feature_noise import DISTRIBUTIONS, MAGNITUDES, SHARES, feature_noise
from fnoise_mmdet.noise.kernels import load_kernels
from fnoise_mmdet.noise.rounding import MANTISSAS, round_to_float


def rms(values) -> float:
    values = list(values)
    return math.sqrt(sum(v * v for v in values) / len(values))


def naive_magnitude(x: np.ndarray, name: str, b: int, c: int, i: int, j: int) -> float:
    """What the noise at one element is proportional to, signed for 'element' as in CCT's formula."""
    if name == 'element':
        return x[b, c, i, j]
    if name == 'channel':
        return rms(x[b, c].flat)
    if name == 'sample':
        return rms(x[b].flat)
    if name == 'batch':
        return rms(x.flat)
    if name == 'l2':
        return math.sqrt(sum(v * v for v in x.flat)) / math.sqrt(x.size)
    if name == 'channel_l2':
        return math.sqrt(sum(v * v for v in x[b, c].flat))
    if name == 'mean':
        return abs(sum(x.flat) / x.size)
    assert name == 'one'
    return 1.0


def naive(x, eps, scale, magnitude, bias='none'):
    """y = x + scale * magnitude * eps + bias, element by element."""
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(*x.shape):
        shift = sum(x.flat) / x.size if bias == 'mean' else 0.0
        y[b, c, i, j] = x[b, c, i, j] + scale * naive_magnitude(x, magnitude, b, c, i, j) * eps[b, c, i, j] + shift
    return y


def draw(noise: FeatureNoise, x: torch.Tensor, key) -> np.ndarray:
    return noise.sample(x, make_generator(key)).double().expand_as(x).numpy()


@pytest.mark.parametrize('magnitude', MAGNITUDES)
@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
@pytest.mark.parametrize('share', ['none', 'batch', ('channel', 'space')])
def test_is_its_formula(x, key, magnitude, distribution, share):
    noise = FeatureNoise(magnitude=magnitude, distribution=distribution, share=share, scale=0.7)
    expected = naive(x.numpy(), draw(noise, x, key), 0.7, magnitude)
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-6, atol=1e-6)


def naive_cct(x, n):
    """y = x + x n, n ~ U(-0.3, 0.3) of shape (C, H, W) for the whole batch."""
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + x[b, c, i, j] * n[c, i, j]
    return y


def naive_mean_normal(x, n):
    """y = x + n, n ~ N(mean of x, 0.1^2) of shape (H, W) for all samples and channels."""
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + (sum(x.flat) / x.size + n[i, j])
    return y


def naive_uniform_20(x, n):
    """y = x n, n ~ U(0.8, 1.2) for every element."""
    y = np.empty_like(x)
    for index in np.ndindex(*x.shape):
        y[index] = x[index] * (1 + n[index])
    return y


def naive_l2(x, n):
    """y = x + n ||x|| / sqrt(N), n ~ U(-0.3, 0.3) of shape (C, H, W) for the whole batch."""
    y = np.empty_like(x)
    norm = math.sqrt(sum(v * v for v in x.flat))
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + n[c, i, j] * norm / math.sqrt(x.size)
    return y


def naive_channel_l2(x, n):
    """y = x + n ||x[b, c]||, n ~ N(0, 0.001^2) for every element."""
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(*x.shape):
        y[b, c, i, j] = x[b, c, i, j] + n[b, c, i, j] * math.sqrt(sum(v * v for v in x[b, c].flat))
    return y


@pytest.mark.parametrize(
    ('preset', 'reference', 'scale', 'shape'),
    [
        ('cct', naive_cct, 0.3, (4, 5, 6)),
        ('mean_normal', naive_mean_normal, 0.1, (5, 6)),
        ('uniform_20', naive_uniform_20, 0.2, (3, 4, 5, 6)),
        ('l2', naive_l2, 0.3, (4, 5, 6)),
        ('channel_l2', naive_channel_l2, 1e-3, (3, 4, 5, 6)),
    ],
)
def test_preset_is_its_formula(x, key, preset, reference, scale, shape):
    noise = FeatureNoise(preset)
    eps = noise.sample(x, make_generator(key))
    assert eps.numel() == math.prod(shape)
    expected = reference(x.numpy(), scale * eps.double().reshape(shape).numpy())
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-6, atol=1e-6)
    low, high = (-10, 10) if noise.distribution == 'normal' else (-1, 1)
    assert low <= eps.min() < 0 < eps.max() <= high


def test_norm_beyond_the_range_of_half_precision(key):
    x = torch.full((1, 2, 200, 336), 300.0)
    noise = FeatureNoise('channel_l2')
    expected = noise(x, key)
    assert torch.linalg.vector_norm(x[0, 0]) > torch.finfo(torch.float16).max
    spacing = 0.25  # of fp16 between 256 and 512
    torch.testing.assert_close(noise(x.half(), key).float(), expected, rtol=1e-3, atol=spacing)


@pytest.mark.parametrize('share', ['none', 'batch', ('batch', 'channel')])
@pytest.mark.parametrize('batch', [1, 4, 5])
def test_antithetic_pairs(key, share, batch):
    x = torch.randn(batch, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    noise = AntitheticNoise(share=share)
    y = noise(x, key)
    eps = FeatureNoise(share=share).sample(x[::2], make_generator(key)).double()
    expected = x.detach().clone()
    for b in range(batch):
        n = eps[0 if 'batch' in share else b // 2]
        expected[b] += 0.3 * x.detach()[b] * (n if b % 2 == 0 else -n)
    torch.testing.assert_close(y.detach(), expected)
    y.backward(x.detach())  # linear: the same factors
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize('settings', [dict(), dict(preset='l2'), dict(preset='channel_l2'), dict(prob=0.5)], ids=str)
def test_opposite(x, key, settings):
    noise = FeatureNoise(**settings)
    assert noise.has_opposite and not FeatureNoise('mean_normal').has_opposite
    y = noise(x, key)
    with noise.opposite():
        opposite = noise(x, key)
    assert not torch.equal(x, y) and torch.equal(noise(x, key), y)
    torch.testing.assert_close(opposite - x, x - y)


def test_gradient_of_the_opposite(x, key):
    """It has the same factors, also where backward runs after the block."""
    noise = FeatureNoise()
    x.requires_grad_()
    with noise.opposite():
        y = noise(x, key)
    y.backward(x.detach())
    torch.testing.assert_close(x.grad, y.detach())


@pytest.mark.parametrize('preset', PRESETS)
def test_preset_spelt_out_is_the_same(x, key, preset):
    assert torch.equal(FeatureNoise(preset)(x, key), FeatureNoise(**PRESETS[preset])(x, key))
    assert repr(FeatureNoise(preset)) == repr(FeatureNoise(**PRESETS[preset]))


def test_settings_replace_those_of_the_preset():
    noise = FeatureNoise('mean_normal', scale=0.5, share='channel')
    assert (noise.magnitude, noise.bias, noise.scale, noise.share) == ('one', 'mean', 0.5, ('channel',))


@pytest.mark.parametrize('radius', [0.1, 0.2, 0.3])
def test_cct_has_the_statistics_of_its_paper(key, radius):
    x = torch.randn(1, 100, 100, 100, generator=torch.Generator().manual_seed(1))
    noise = FeatureNoise('cct', scale=radius)(x, key) - x
    factor = noise / x
    # A million uniform draws: the mean's standard error is r / sqrt(3) / 1000; 6 of them.
    assert abs(factor.mean()) < 6 * radius / math.sqrt(3) / 1000
    assert factor.std() == pytest.approx(radius / math.sqrt(3), rel=0.005)
    assert radius * 0.999 < factor.abs().max() <= radius * 1.001
    ratio = 10 * math.log10(x.square().sum() / noise.square().sum())
    # x^2 weighs the million draws unevenly: standard error 0.007 dB; 6 of them.
    assert ratio == pytest.approx(10 * math.log10(3 / radius**2), abs=0.04)


def test_normal_draws(key):
    eps = FeatureNoise(distribution='normal', share='none').sample(torch.ones(1, 100, 100, 100), make_generator(key))
    # Standard errors of a million: mean 0.001, deviation 0.0007, kurtosis 0.005; 6 of them.
    assert abs(eps.mean()) < 0.006
    assert eps.std() == pytest.approx(1, abs=0.0042)
    assert (eps**4).mean() == pytest.approx(3, abs=0.06)


@pytest.mark.parametrize('magnitude', ['channel', 'sample', 'batch', 'l2'])
def test_power_of_the_noise_is_that_of_the_magnitude(key, magnitude):
    x = torch.randn(4, 32, 50, 50, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 33).view(1, 32, 1, 1)
    noise = FeatureNoise(magnitude=magnitude, share='none')(x, key) - x
    # 0.3 / sqrt(3) of the RMS; 320,000 draws, standard error 0.1 %, of one channel's 10,000 0.5 %; 6 of them.
    assert noise.square().mean().sqrt() / x.square().mean().sqrt() == pytest.approx(0.3 / math.sqrt(3), rel=0.012)
    channels = noise.square().mean((0, 2, 3)).sqrt() / x.square().mean((0, 2, 3)).sqrt() * math.sqrt(3) / 0.3
    if magnitude == 'channel':
        assert (channels - 1).abs().max() < 0.03
    else:
        assert channels[0] > 10 and channels[-1] < 0.7


@pytest.mark.parametrize(
    'share', [axes for n in range(4) for axes in itertools.combinations(SHARES, n)], ids=lambda axes: '+'.join(axes)
)
def test_a_draw_is_shared_along_the_axes_named_and_no_other(key, share):
    x = torch.ones(4, 8, 6, 6)
    y = FeatureNoise(share=list(share) or 'none')(x, key)
    along = {'batch': y[:1], 'channel': y[:, :1], 'space': y[:, :, :1, :1]}
    for axis, first in along.items():
        assert torch.equal(y, first.expand_as(y)) == (axis in share)
    expected = math.prod({'batch': 4, 'channel': 8, 'space': 36}[axis] for axis in SHARES if axis not in share)
    assert y.unique().numel() == pytest.approx(expected, rel=0.02)


def test_cct_keeps_signs_and_zeros(x, key):
    x[0, 0] = 0
    assert torch.equal(FeatureNoise('cct')(x, key).sign(), x.sign())


@pytest.mark.parametrize('magnitude', MAGNITUDES)
@pytest.mark.parametrize('bias', ['none', 'mean'])
def test_gradient_is_that_of_the_formula(x, key, magnitude, bias):
    noise = FeatureNoise(magnitude=magnitude, bias=bias, detach_statistics=False)
    assert torch.autograd.gradcheck(lambda z: noise(z, key), x.requires_grad_())


@pytest.mark.parametrize('magnitude', [name for name in MAGNITUDES if name != 'element'])
def test_statistics_are_held_constant_by_default(x, key, magnitude):
    x.requires_grad_()
    FeatureNoise(magnitude=magnitude, bias='mean')(x, key).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            dict(preset='cctt'),
            r"preset must be one of \['cct', 'mean_normal', 'uniform_20', 'l2', 'channel_l2'\], but got 'cctt'",
        ),
        (dict(preset=['cct']), r"preset must be one of .*, but got \['cct'\]"),
        (dict(magnitude='l3'), r"magnitude must be one of \['element', .*'one'\], but got 'l3'"),
        (dict(distribution='cauchy'), r"distribution must be one of \['uniform', 'normal'\], but got 'cauchy'"),
        (dict(share='time'), r"share must be 'none' or among \['batch', 'channel', 'space'\], but got 'time'"),
        (dict(share=['batch', 'height']), "but got 'height'"),
        (dict(share=['batch', 'batch']), 'share must name every axis once'),
        (dict(share=1), 'but got 1'),
        (dict(bias='median'), "bias must be one of .*, but got 'median'"),
        (dict(scale=-0.3), r'scale must be >= 0 and finite, but got -0.3'),
        (dict(scale=math.nan), 'scale must be >= 0 and finite, but got nan'),
        (dict(scale=math.inf), 'scale must be >= 0 and finite, but got inf'),
        (dict(scale='strong'), "scale must be >= 0 and finite, but got 'strong'"),
        (dict(scale='match:e3m3'), r"format of scale='match:e3m3' must be one of \['e4m3', .*, but got 'e3m3'"),
        (dict(scale=True), 'scale must be >= 0 and finite, but got True'),
        (dict(prob=1.5), r'prob must be in \[0, 1\], but got 1.5'),
        (dict(prob=-0.1), r'prob must be in \[0, 1\], but got -0.1'),
        (dict(prob='often'), r"prob must be in \[0, 1\], but got 'often'"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureNoise(**arguments)


@pytest.mark.parametrize(
    ('name', 'scale'), [('power_of_two', 0.3366), ('e2m1', 0.178), ('e5m2', 0.091), ('e4m3', 0.046)]
)
@pytest.mark.parametrize('distribution', ['uniform', 'normal'])
def test_scale_of_the_relative_error_of_a_format(name, scale, distribution):
    noise = FeatureNoise(scale=f'match:{name}', distribution=distribution, share='none')
    assert noise.scale == pytest.approx(scale if distribution == 'uniform' else scale / 3**0.5, rel=0.01)
    x = torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(0)).abs()
    rounded = round_to_float(x, MANTISSAS[name])
    assert float((noise(x, (0,)) - x).norm() / (rounded - x).norm()) == pytest.approx(1, abs=0.02)


def test_repr_shows_every_setting():
    assert repr(FeatureNoise('cct', scale=0.2)) == (
        "FeatureNoise(magnitude='element', distribution='uniform', share=('batch',), scale=0.2, bias='none', "
        'detach_statistics=True, prob=1.0)'
    )


LINEAR = [
    dict(),
    dict(share='none'),
    dict(share='channel'),
    dict(distribution='normal'),
    dict(prob=0.5),
]
LINEAR_NOISES = [*(FeatureNoise(**settings) for settings in LINEAR), AntitheticNoise(), AntitheticNoise(share='none')]


@pytest.mark.parametrize('noise', LINEAR_NOISES, ids=str)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', [(3, 4, 9, 11), (1, 1, 1, 1), (2, 1, 3, 5), (2, 64, 50, 84)])
def test_fused_matches_eager_bit_for_bit(key, device, monkeypatch, noise, dtype, memory_format, shape):
    monkeypatch.setattr('fnoise_mmdet.noise.kernels.cpu.PART', 8192)  # several threads for the larger ones
    x = torch.randn(shape, generator=make_generator((5,))).to(device, dtype).contiguous(memory_format=memory_format)
    assert torch.equal(noise(x, key), Noise.perturb(noise, x, key))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ('noise', 'is_fused'),
    [
        (FeatureNoise(), True),
        (FeatureNoise('uniform_20'), True),
        (FeatureNoise(share='channel'), False),
        (FeatureNoise(distribution='normal'), False),
        (FeatureNoise(prob=0.5), False),
        (FeatureNoise('l2'), False),
        (AntitheticNoise(), True),
        (AntitheticNoise(share='none'), False),
        (AntitheticNoise(prob=0.5), False),
    ],
    ids=str,
)
def test_kernels_run_in_both_passes_where_they_can(key, monkeypatch, noise, is_fused, dtype):
    kernels, calls = load_kernels(torch.device('cpu')), []
    rescale = kernels.rescale
    monkeypatch.setattr(kernels, 'rescale', lambda *args: calls.append(args) or rescale(*args))
    x = torch.ones(2, 3, 4, 5, dtype=dtype, requires_grad=True)
    noise(x, key).sum().backward()
    assert len(calls) == 2 * is_fused


@pytest.mark.parametrize(
    ('change', 'kind'),
    [
        (lambda x: x.to(memory_format=torch.channels_last), 'in channels_last on'),
        (torch.Tensor.bfloat16, 'in torch.bfloat16 on'),
    ],
)
def test_features_that_the_kernels_do_not_take_are_warned_of(key, change, kind):
    x = torch.ones(2, 3, 4, 5)
    with pytest.warns(UserWarning, match=f'several times as long for features {kind} this device'):
        FeatureNoise()(change(x), key)
    with warnings.catch_warnings(action='error'):
        FeatureNoise()(x, key)
        FeatureNoise(distribution='normal')(change(x), key)  # which has no kernel


PYRAMIDS = [dict(), dict(share='channel'), dict(preset='l2'), dict(scale=0)]


@pytest.mark.parametrize('settings', PYRAMIDS, ids=str)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_levels_together_are_levels_one_by_one(device, settings, dtype, memory_format):
    noise, generator = FeatureNoise(**settings), make_generator((5,))
    xs = [torch.randn(2, 64 // s, s, s + 1, generator=generator).to(device, dtype) for s in (30, 15, 8, 1)]
    xs = [x.contiguous(memory_format=memory_format).requires_grad_(i != 1) for i, x in enumerate(xs)]
    keys = [(7, level) for level in range(len(xs))]
    peaks = torch.zeros(len(xs), device=device)
    ys = noise._perturb_levels(xs, keys, peaks)
    assert peaks.tolist() == [float(x.abs().max()) for x in xs]
    singles = [noise(x, key) for x, key in zip(xs, keys)]
    gradients = [torch.rand_like(x) for x in xs]
    for level, (y, single) in enumerate(zip(ys, singles)):
        assert torch.equal(y, single) and y.requires_grad == (level != 1)
    trained, unused = (0, 3), 2
    found = torch.autograd.grad(
        [ys[i] for i in trained],
        [xs[i] for i in (*trained, unused)],
        [gradients[i] for i in trained],
        allow_unused=True,
    )
    for i, gradient in zip(trained, found):
        assert torch.equal(gradient, *torch.autograd.grad(singles[i], xs[i], gradients[i]))
    assert found[-1] is None


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('settings', PYRAMIDS, ids=str)
def test_peaks_tell_of_nan_and_inf(device, settings, dtype):
    xs = [torch.linspace(-3, 2, 3000, device=device).view(1, 3, 20, 50).to(dtype) for _ in range(5)]
    xs[1][0, 2, 7, 9] = float('nan')
    xs[2][0, 2, 7, 9] = -float('inf')
    xs[3][0, 2, 7, 9], xs[3][0, 0, 0, 0] = float('nan'), float('inf')
    peaks = torch.zeros(len(xs), device=device)
    FeatureNoise(**settings)._perturb_levels(xs, [(level,) for level in range(len(xs))], peaks)
    torch.testing.assert_close(
        peaks.cpu(), torch.tensor([3, float('nan'), float('inf'), float('nan'), 3]), equal_nan=True
    )


@pytest.mark.parametrize('noise', LINEAR_NOISES, ids=str)
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_fused_gradient_matches_eager(x, key, device, noise, memory_format):
    """Whatever the layout of the gradient that comes in, also where it is one number for all elements."""
    x = x.to(device)
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype, device=device).view(x.shape)
    for gradient in (weights.contiguous(memory_format=memory_format), torch.ones_like(x[:1, :1, :1, :1]).expand_as(x)):
        found = []
        for perturb in (noise, lambda x, key: Noise.perturb(noise, x, key)):
            z = x.detach().requires_grad_()
            found += torch.autograd.grad(perturb(z, key), z, gradient)
        torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)


def test_gradients_of_gradients(key):
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: FeatureNoise()(x, key), x)
    assert torch.autograd.gradgradcheck(lambda x: FeatureNoise()(x, key), x)


@pytest.mark.parametrize('settings', [*LINEAR, *(dict(preset=preset) for preset in PRESETS)], ids=str)
def test_nothing_is_kept_for_the_backward_pass(x, key, device, settings):
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    noise = FeatureNoise(**settings)
    if settings.get('preset') == 'mean_normal':
        assert noise.detach_statistics
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        noise(x.to(device).requires_grad_(), key)
    assert not kept


def test_a_setting_that_changes_after_the_forward_pass_does_not_change_the_gradient(x, key):
    noise = FeatureNoise(scale=0.3)
    x = x.requires_grad_()
    y = noise(x, key)
    noise.scale = 0.0
    y.sum().backward()
    expected = FeatureNoise(scale=0.3)(torch.ones_like(x), key)
    torch.testing.assert_close(x.grad, expected.detach())


def test_subclass_uses_eager_path(x, key):
    class Doubled(FeatureNoise):
        def apply_sample(self, x, sample):
            return 2 * x

    assert torch.equal(Doubled()(x, key), 2 * x)


def test_the_function_is_the_module(x, key):
    assert torch.equal(feature_noise(x, key=key), FeatureNoise()(x, key))
    settings = dict(scale=0.1, share='none')
    assert torch.equal(feature_noise(x, 'l2', key=key, **settings), FeatureNoise('l2', **settings)(x, key))
    assert feature_noise(x, training=False) is x
    with pytest.raises(ValueError, match='scale must be'):
        feature_noise(x, scale=-1)
