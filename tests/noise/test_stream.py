import itertools
import math

import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import make_generator
from fnoise_mmdet.noise.stream import UNIFORM_SCALE, UniformStream, load_kernels, make_seed


def draw(*key: int) -> torch.Tensor:
    return torch.rand(1000, generator=make_generator(key))


def test_same_key_gives_the_same_numbers():
    assert torch.equal(draw(0, 1, 2, 3, 4), draw(0, 1, 2, 3, 4))


def test_keys_that_differ_in_one_place_give_unrelated_numbers():
    keys = [(0, 0, 0, 0, 0), *(tuple(int(i == place) for i in range(5)) for place in range(5))]
    for a, b in itertools.combinations(keys, 2):
        # Correlation of 1000 independent pairs: standard deviation 0.03; 5 of them.
        assert abs(torch.corrcoef(torch.stack([draw(*a), draw(*b)]))[0, 1]) < 0.16


def test_seeds_are_those_of_every_machine_and_kind_of_integer():
    assert make_seed((3, 0, 17, 0, 1)) == make_seed(np.array([3, 0, 17, 0, 1])) == 17772687999793815288
    assert make_seed((1, 23)) != make_seed((12, 3)), 'the numbers of a key are kept apart'


def test_global_stream_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draw(7, 7)
    assert torch.equal(torch.get_rng_state(), before)


def test_negative_key_is_refused():
    with pytest.raises(ValueError, match=r'numbers of a key must be >= 0, but got \(0, -1\)'):
        make_generator((0, -1))


def test_uniform_numbers_are_the_odd_multiples_of_2_to_the_minus_15():
    numbers = UniformStream(make_generator((0,))).fill(torch.empty(2**20, dtype=torch.float64))
    units = numbers * UNIFORM_SCALE
    assert torch.equal(units, units.round()) and bool((units % 2 == 1).all())
    assert numbers.min() > -1 and numbers.max() < 1


def test_uniform_numbers_are_uniform_and_independent():
    """Thresholds are 5 standard deviations of each statistic of 2^22 independent numbers."""
    count = 2**22
    numbers = UniformStream(make_generator((1,))).fill(torch.empty(count, dtype=torch.float64))
    assert abs(numbers.mean()) < 5 * math.sqrt(1 / 3 / count)
    assert abs(numbers.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / count)
    bins = torch.histc(numbers, 256, -1, 1)
    chi_squared = float(((bins - count / 256).square() / (count / 256)).sum())
    assert abs(chi_squared - 255) < 5 * math.sqrt(2 * 255)
    for lag in (1, 2, 3, 4, 5, 8, 64, 4096):  # four of them come from one word
        correlation = float((numbers[lag:] * numbers[:-lag]).mean()) * 3
        assert abs(correlation) < 5 / math.sqrt(count)
    bits = (numbers * UNIFORM_SCALE).long() + UNIFORM_SCALE
    for bit in range(1, 16):
        assert abs((bits >> bit & 1).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(count)


def test_uniform_numbers_in_pieces_are_those_of_one_draw():
    whole = UniformStream(make_generator((2,))).odd_integers(1001)
    stream = UniformStream(make_generator((2,)))
    assert torch.equal(torch.cat([stream.odd_integers(count) for count in (4, 400, 597)]), whole)


def test_a_generator_gives_one_uniform_stream_after_another():
    generator = make_generator((3,))
    first, second = (UniformStream(generator).fill(torch.empty(1000)) for _ in range(2))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.16


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about where there is no GPU')
def test_kernels_that_do_not_work_are_named_and_done_without():
    with pytest.warns(UserWarning, match='Triton cannot be used .*: feature noise takes several times as long'):
        assert load_kernels.__wrapped__() is None
