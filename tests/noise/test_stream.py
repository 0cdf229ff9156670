import itertools

import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import make_generator
from fnoise_mmdet.noise.stream import draw_uniform, make_seed


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


def test_negative_key_is_refused():
    with pytest.raises(ValueError, match=r'numbers of a key must be >= 0, but got \(0, -1\)'):
        make_generator((0, -1))


def test_uniform_numbers_are_in_range_and_a_function_of_the_seed():
    first, second, other = (draw_uniform(torch.empty(10, 1000), make_generator((seed,))) for seed in (3, 3, 4))
    assert torch.equal(first, second) and (first.abs() < 1).all()
    # Correlation of 10,000 independent pairs: standard deviation 0.01; 5 of them.
    assert abs(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1]) < 0.05
