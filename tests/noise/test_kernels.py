"""The kernels of a GPU: on one where there is one, else in Triton's interpreter."""

import math

import pytest
import torch

from fnoise_mmdet.noise import FeatureNoise

pytest.importorskip('triton', reason='Triton comes with torch for a GPU')

from fnoise_mmdet.noise import kernels

HAS_GPU = torch.cuda.is_available()
DEVICE = 'cuda' if HAS_GPU else 'cpu'
SEED = 0x8123456789ABCDEF


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
    word = philox(counter, seed & 0x7FFFFFFFFFFFFFFF | 1)[half // 2]
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
    (y,) = kernels.rescale([x], [SEED], 0.3, [rows])
    # The result is rounded, by half of eps, and so are the parts of its smaller summand; the interpreter cuts off.
    eps, smallest = torch.finfo(dtype).eps * (1 if HAS_GPU else 1.5), torch.finfo(dtype).smallest_normal
    assert ((y.double() - expected).abs() <= eps * (expected.abs() + smallest)).all()


def test_levels_are_rescaled_each_by_its_own_numbers():
    shapes = [(2, 3, 41, 67), (2, 5, 1, 1), (2, 4, 30, 20)]
    xs = [torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(DEVICE) for shape in shapes]
    xs[2] = xs[2].half()
    peaks, rows = torch.zeros(3, device=DEVICE), (2, 1, 2)
    ys = kernels.rescale(xs, [SEED + level for level in range(3)], 0.3, rows, peaks)
    for level, (x, y) in enumerate(zip(xs, ys)):
        (alone,) = kernels.rescale([x], [SEED + level], 0.3, [rows[level]])
        assert torch.equal(y, alone) and y.dtype == x.dtype
    assert peaks.tolist() == [float(x.abs().max()) for x in xs]


def test_a_peak_is_nan_or_inf_where_an_element_is():
    xs = [torch.linspace(-3, 2, 5000, device=DEVICE).view(1, 1, 50, 100) for _ in range(4)]
    for x, values in zip(xs, ([], [float('nan')], [-float('inf')], [float('inf'), float('nan')])):
        x[0, 0, 30, : len(values)] = torch.tensor(values)
    peaks = torch.zeros(4, device=DEVICE)
    kernels.rescale(xs, [SEED] * 4, 0.3, [1] * 4, peaks)
    assert str(peaks.tolist()) == '[3.0, nan, inf, nan]'


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


@pytest.mark.gpu
def test_one_kernel_a_pass():
    """Whatever the number of levels and, for numbers of channels as they are, their sizes."""
    compiled = set()
    FeatureNoise()(torch.ones(1, 1, 1, 1, device='cuda'), (0,))  # looks whether Triton works
    for number, sides in enumerate(((50, 25, 16), (49, 33, 1), (64, 7, 9))):
        xs = [torch.randn(2, 16, side, side, device='cuda', requires_grad=True) for side in sides]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            ys = FeatureNoise().perturb_levels(xs, [(number, level) for level in range(3)])
            torch.autograd.backward(ys, [torch.ones_like(y) for y in ys])
            torch.cuda.synchronize()
        assert sum('rescale' in event.name for event in profile.events()) == 2
        compiled.add(sum(len(cache[0]) for cache in kernels._rescale_kernel.device_caches.values()))
    assert len(compiled) == 1


@pytest.mark.gpu
def test_global_streams_are_left_alone():
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    FeatureNoise()(torch.ones(1, 2, 3, 4, device='cuda'), (0,))
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.equal(torch.cuda.get_rng_state(), before[1])
