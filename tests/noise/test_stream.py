import itertools

import pytest
import torch

from fnoise_mmdet.noise import make_generator


def draw(*key: int) -> torch.Tensor:
    return torch.rand(1000, generator=make_generator(key))


def test_same_key_gives_the_same_numbers():
    assert torch.equal(draw(0, 1, 2, 3, 4), draw(0, 1, 2, 3, 4))


def test_keys_that_differ_in_one_place_give_unrelated_numbers():
    keys = [(0, 0, 0, 0, 0), *(tuple(int(i == place) for i in range(5)) for place in range(5))]
    for a, b in itertools.combinations(keys, 2):
        # Correlation of 1000 independent pairs: standard deviation 0.03; 5 of them.
        assert abs(torch.corrcoef(torch.stack([draw(*a), draw(*b)]))[0, 1]) < 0.16


def test_global_stream_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draw(7, 7)
    assert torch.equal(torch.get_rng_state(), before)


def test_negative_key_is_refused():
    with pytest.raises(ValueError):
        make_generator((0, -1))
