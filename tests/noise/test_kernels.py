"""The kernels of a GPU: on one where there is one, else in Triton's interpreter."""

import math

import pytest
import torch

from fnoise_mmdet.noise import FeatureNoise, Noise

pytest.importorskip('triton', reason='Triton comes with torch for a GPU')

from fnoise_mmdet.noise import kernels

HAS_GPU = torch.cuda.is_available()
DEVICE = 'cuda' if HAS_GPU else 'cpu'
SEED = 0x8123456789ABCDEF
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason='needs a GPU')


def philox(counter: int, key: int) -> list[int]:
    """Philox4x32-10, written from section 3.3 and table 2 of Salmon et al., SC 2011."""
    c = [counter, 0, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & 0xFFFFFFFF, first >> 32 ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c


def test_the_reference_is_philox():
    """The first of the known answers that come with Random123."""
    assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def number(place: int, seed: int) -> float:
    """The number of a place, as the docstring of ``draw`` tells it."""
    counter, half = divmod(place, 8)
    word = philox(counter, seed & kernels.SEEDS)[half // 2]
    return ((word >> 16 * (half % 2) & 0xFFFF) | 1) / 2**15 - 1


@pytest.mark.parametrize('count', [1, 2 * kernels.TILE, 5001])
def test_numbers_are_those_of_philox(count):
    eps = kernels.draw(torch.empty(count, device=DEVICE), SEED)
    assert eps.tolist() == [number(place, SEED) for place in range(count)]


@pytest.mark.parametrize('rows', [1, 3])
@pytest.mark.parametrize('shape', [(3, 4, 9, 11), (3, 1, 1, 1), (3, 8, 40, 50)])
@pytest.mark.parametrize('dtype', kernels.DTYPES, ids=str)
def test_features_are_rescaled_by_the_formula(rows, shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    n = torch.tensor([number(place, SEED) for place in range(x.numel() // rows)], device=DEVICE, dtype=torch.float64)
    expected = x.double() * (1 + 0.3 * n.expand(rows, -1).reshape(shape))
    y = kernels.rescale(x, SEED, 0.3, rows)
    # The result is rounded, by half of eps, and so are the parts of its smaller summand; the interpreter cuts off.
    eps, smallest = torch.finfo(dtype).eps * (1 if HAS_GPU else 1.5), torch.finfo(dtype).smallest_normal
    assert ((y.double() - expected).abs() <= eps * (expected.abs() + smallest)).all()


def test_nothing_is_written_beyond_the_end():
    eps = torch.full((3 * kernels.TILE,), 9.0, device=DEVICE)
    kernels.draw(eps[: kernels.TILE + 1], SEED)
    assert (eps[: kernels.TILE + 1] < 1).all() and (eps[kernels.TILE + 1 :] == 9).all()


def test_numbers_are_uniform_and_independent():
    """Thresholds are 5 standard deviations of each statistic of so many independent numbers."""
    count = 2**24 if HAS_GPU else 2**18
    numbers = kernels.draw(torch.empty(count, device=DEVICE), SEED).double()
    assert (numbers.abs() < 1).all()
    assert abs(numbers.mean()) < 5 * math.sqrt(1 / 3 / count)
    assert abs(numbers.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / count)
    bins = torch.histc(numbers, 256, -1, 1)
    assert abs(float(((bins - count / 256).square() / (count / 256)).sum()) - 255) < 5 * math.sqrt(2 * 255)
    for lag in (1, 2, 3, 4, 8, 64, kernels.TILE):  # halves of a word, words of a counter, and counters
        assert abs(float((numbers[lag:] * numbers[:-lag]).mean()) * 3) < 5 / math.sqrt(count)
    other = kernels.draw(torch.empty(count, device=DEVICE), SEED + 1).double()
    assert abs(float((numbers * other).mean()) * 3) < 5 / math.sqrt(count)


SETTINGS = [dict(), dict(share='none'), dict(share='channel'), dict(distribution='normal'), dict(prob=0.5)]


@needs_gpu
@pytest.mark.parametrize('settings', SETTINGS, ids=str)
@pytest.mark.parametrize('dtype', [*kernels.DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', [(3, 4, 9, 11), (1, 1, 1, 1), (2, 64, 50, 84)])
def test_the_fast_way_is_the_simple_one_to_the_last_bit(settings, dtype, memory_format, shape):
    noise = FeatureNoise(**settings)
    x = torch.randn(shape, device='cuda').to(dtype).contiguous(memory_format=memory_format)
    assert torch.equal(noise(x, (0, 1)), Noise.perturb(noise, x, (0, 1)))


@needs_gpu
@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_gradients_in_any_layout_get_the_factors_of_the_features(settings):
    x = torch.rand(2, 8, 30, 40, device='cuda').add_(1).requires_grad_()
    y = FeatureNoise(**settings)(x, (0, 1))
    for gradient in (torch.ones_like(x), torch.ones(1, 1, 1, 1, device='cuda').expand_as(x)):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            (found,) = torch.autograd.grad(y, x, gradient.contiguous(memory_format=memory_format), retain_graph=True)
            torch.testing.assert_close(found, (y / x).detach())
        (found,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
        torch.testing.assert_close(found, (y / x).detach())


@needs_gpu
def test_one_kernel_a_pass_and_nothing_kept():
    x = torch.randn(2, 64, 50, 84, device='cuda', requires_grad=True)
    noise = FeatureNoise()
    noise(x, (0, 1)).sum().backward()  # compiles
    kept = []
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile,
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor),
    ):
        torch.autograd.backward(noise(x, (0, 1)), torch.ones_like(x))
        torch.cuda.synchronize()
    names = [event.name for event in profile.events() if 'rescale' in event.name]
    assert len(names) == 2 and not kept


@needs_gpu
def test_global_streams_are_left_alone():
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    FeatureNoise()(torch.ones(1, 2, 3, 4, device='cuda'), (0,))
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.equal(torch.cuda.get_rng_state(), before[1])
