"""The kernels of a CPU, and of a GPU: these on one where there is one, else in Triton's interpreter."""

import importlib
import math
import multiprocessing

import pytest
import torch

from fnoise_mmdet.noise import FeatureNoise
from fnoise_mmdet.noise.kernels import COMPILERS, _load, load_kernels

HAS_GPU = torch.cuda.is_available()
SEED = 0x8123456789ABCDEF


@pytest.fixture(params=COMPILERS)
def kernels(request):
    # The interpreter of an older Triton, as comes with the torch of the original distributions, lacks what we call.
    oldest = '3.3' if request.param == 'cuda' and not HAS_GPU else None
    pytest.importorskip(COMPILERS[request.param].lower(), minversion=oldest)
    return importlib.import_module(f'fnoise_mmdet.noise.kernels.{request.param}')


@pytest.fixture
def device(kernels):
    return 'cuda' if kernels.__name__.endswith('cuda') and HAS_GPU else 'cpu'


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
    """The number of a place, as the docstring of the kernels tells it."""
    counter, half = divmod(place, 8)
    word = philox(counter, seed & 0x7FFFFFFFFFFFFFFF | 1)[half // 2]
    return ((word >> 16 * (half % 2) & 0xFFFF) | 1) / 2**15 - 1


@pytest.mark.parametrize('count', [1, 4096, 20001])
def test_numbers_are_those_of_philox(kernels, device, count):
    eps = kernels.draw(torch.empty(count, device=device), SEED)
    assert eps.tolist() == [number(place, SEED) for place in range(count)]


@pytest.mark.parametrize(('rows', 'alternating'), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize('shape', [(3, 4, 9, 11), (3, 1, 1, 1), (3, 8, 40, 50)])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_features_are_rescaled_by_the_formula(kernels, device, rows, alternating, shape, dtype):
    if dtype not in kernels.DTYPES:
        pytest.skip('not one of DTYPES')
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    n = torch.tensor([number(place, SEED) for place in range(x.numel() // rows)], device=device, dtype=torch.float64)
    signs = torch.tensor([1, -1, 1][:rows] if alternating else [1] * rows, device=device).view(-1, 1)
    expected = x.double() * (1 + 0.3 * (signs * n).reshape(shape))
    (y,) = kernels.rescale([x], [SEED], 0.3, [rows], None, alternating)
    # The result is rounded, by half of eps, and so are the parts of its smaller summand; the interpreter cuts off.
    eps, smallest = torch.finfo(dtype).eps * 1.5, torch.finfo(dtype).smallest_normal
    assert ((y.double() - expected).abs() <= eps * (expected.abs() + smallest)).all()


@pytest.mark.parametrize('threads', [1, 3])
def test_levels_are_rescaled_each_by_its_own_numbers(kernels, device, monkeypatch, threads):
    monkeypatch.setattr('fnoise_mmdet.noise.kernels.cpu.PART', 8192)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    shapes, rows = [(2, 16, 41, 67), (2, 5, 1, 1), (2, 4, 30, 20)], (2, 1, 2)
    xs = [torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device) for shape in shapes]
    xs[2] = xs[2].to(list(kernels.DTYPES)[-1])
    peaks = torch.zeros(3, device=device)
    ys = kernels.rescale(xs, [SEED + 2 * level for level in range(3)], 0.3, rows, peaks)
    for level, (x, y) in enumerate(zip(xs, ys)):
        eps = kernels.draw(torch.empty(x.numel() // rows[level], device=device), SEED + 2 * level)
        expected = x * (1 + 0.3 * eps.expand(rows[level], -1).reshape(x.shape).double())
        torch.testing.assert_close(y, expected.to(x.dtype))
    torch.testing.assert_close(peaks.cpu(), torch.tensor([float(x.abs().max()) for x in xs]))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_peak_is_nan_or_inf_where_an_element_is(kernels, device, dtype):
    if dtype not in kernels.DTYPES:
        pytest.skip('not one of DTYPES')
    xs = [torch.linspace(-3, 2, 20000, device=device).view(1, 1, 100, 200).to(dtype) for _ in range(5)]
    for x, values in zip(xs, ([], [math.nan], [-math.inf], [math.inf, math.nan], [-math.nan])):
        x[0, 0, 70, : len(values)] = torch.tensor(values)
    peaks = torch.zeros(5, device=device)
    kernels.rescale(xs, [SEED] * 5, 0.3, [1] * 5, peaks)
    assert str(peaks.tolist()) == '[3.0, nan, inf, nan, nan]'


def test_features_may_begin_anywhere_in_memory(kernels, device):
    memory = torch.randn(30001, generator=torch.Generator().manual_seed(1)).to(device)
    for begin in (0, 1):
        x = memory[begin : begin + 30000].view(1, 3, 100, 100)
        (y,) = kernels.rescale([x], [SEED], 0.3, [1])
        eps = kernels.draw(torch.empty(30000, device=device), SEED).view(x.shape)
        torch.testing.assert_close(y, (x * (1 + 0.3 * eps.double())).float())


def test_nothing_is_written_beyond_the_end(kernels, device):
    eps = torch.full((30000,), 9.0, device=device)
    kernels.draw(eps[:20001], SEED)
    assert (eps[:20001] < 1).all() and (eps[20001:] == 9).all()


def test_numbers_are_uniform_and_independent(kernels, device):
    """Thresholds are 5 standard deviations of each statistic of so many independent numbers."""
    count = 2**18 if kernels.__name__.endswith('cuda') and not HAS_GPU else 2**24
    numbers = kernels.draw(torch.empty(count, device=device), SEED).double()
    units = numbers * 2**15
    assert torch.equal(units, units.round()) and bool((units % 2 == 1).all()), 'odd multiples of 2^-15'
    assert (numbers.abs() < 1).all()
    assert abs(numbers.mean()) < 5 * math.sqrt(1 / 3 / count)
    assert abs(numbers.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / count)
    bins = torch.histc(numbers, 256, -1, 1)
    assert abs(float(((bins - count / 256).square() / (count / 256)).sum()) - 255) < 5 * math.sqrt(2 * 255)
    for lag in (1, 2, 3, 4, 8, 64, 2048, 8192):  # halves of a word, words of a counter, counters, tiles and blocks
        assert abs(float((numbers[lag:] * numbers[:-lag]).mean()) * 3) < 5 / math.sqrt(count)
    for bit in range(1, 16):
        assert abs((units.long() + 2**15 >> bit & 1).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(count)
    other = kernels.draw(torch.empty(count, device=device), SEED + 2).double()
    assert abs(float((numbers * other).mean()) * 3) < 5 / math.sqrt(count)


def _draw_in_a_child(queue):
    torch.set_num_threads(1)  # torch's own threads do not survive a fork
    queue.put(FeatureNoise()(torch.ones(2, 16, 64, 64), (0, 1)).sum().item())


def test_a_forked_process_draws_the_same(monkeypatch):
    monkeypatch.setattr('fnoise_mmdet.noise.kernels.cpu.PART', 8192)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    expected = FeatureNoise()(torch.ones(2, 16, 64, 64), (0, 1)).sum().item()
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    child = context.Process(target=_draw_in_a_child, args=(queue,))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and queue.get() == pytest.approx(expected)


@pytest.mark.parametrize('kind', [kind for kind in COMPILERS if kind == 'cpu' or not HAS_GPU])
def test_kernels_that_do_not_work_are_named_and_done_without(kind, monkeypatch):
    monkeypatch.setattr('fnoise_mmdet.noise.kernels.cpu.draw', None)  # those of a GPU do not work here anyway
    message = f'{COMPILERS[kind]} cannot be used .*: feature noise takes several times as long'
    with pytest.warns(UserWarning, match=message):
        assert _load.__wrapped__(kind) is None
    monkeypatch.setattr('fnoise_mmdet.noise.fused.load_kernels', lambda device: None)
    monkeypatch.setattr('fnoise_mmdet.noise.stream.load_kernels', lambda device: None)
    y = FeatureNoise()(torch.ones(2, 16, 64, 64), (0, 1))
    # A uniform number in (0.7, 1.3) has a standard deviation of 0.173; 5 of those of the statistics of 65,536.
    assert torch.equal(y[0], y[1]) and y.min() >= 0.7 and y.max() <= 1.3
    assert abs(y.mean() - 1) < 0.0034 and abs(y.std() - 0.173) < 0.0016


def test_there_are_none_for_other_devices():
    assert load_kernels(torch.device('meta')) is None


@pytest.mark.gpu
def test_noise_is_the_same_on_a_cpu_and_on_a_gpu():
    x = torch.randn(2, 16, 50, 84)
    y = FeatureNoise()(x.cuda(), (0, 1)).cpu()
    torch.testing.assert_close(y, FeatureNoise()(x, (0, 1)), rtol=2e-7, atol=0)


@pytest.mark.gpu
def test_one_kernel_per_pass():
    """Whatever the number of levels and, for numbers of channels as they are, their sizes."""
    cuda = importlib.import_module('fnoise_mmdet.noise.kernels.cuda')
    compiled = set()
    FeatureNoise()(torch.ones(1, 1, 1, 1, device='cuda'), (0,))  # looks whether Triton works
    for number, sides in enumerate(((50, 25, 16), (49, 33, 1), (64, 7, 9))):
        xs = [torch.randn(2, 16, side, side, device='cuda', requires_grad=True) for side in sides]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            ys = FeatureNoise().perturb_levels(xs, [(number, level) for level in range(3)])
            torch.autograd.backward(ys, [torch.ones_like(y) for y in ys])
            torch.cuda.synchronize()
        assert sum('rescale' in event.name for event in profile.events()) == 2
        compiled.add(sum(len(cache[0]) for cache in cuda._rescale_kernel.device_caches.values()))
    assert len(compiled) == 1


@pytest.mark.gpu
def test_global_streams_are_left_alone():
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    FeatureNoise()(torch.ones(1, 2, 3, 4, device='cuda'), (0,))
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.equal(torch.cuda.get_rng_state(), before[1])
