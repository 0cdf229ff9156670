import math

import numpy as np
import pytest
import torch

from fnoise_mmdet.choices import REDUCTIONS
from fnoise_mmdet.visualization import choose_reduction
from fnoise_mmdet.visualization.reductions import (
    channel_max,
    channel_mean,
    channel_norm,
    principal_direction,
    project,
    strongest_channels,
    tile,
)


def features(channels=5, height=3, width=4, seed=0):
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ('reduce', 'naive'),
    [
        (channel_mean, lambda values: sum(values) / len(values)),
        (channel_max, max),
        (channel_norm, lambda values: math.sqrt(sum(value**2 for value in values))),
    ],
)
def test_reductions_over_channels_are_their_formulas(reduce, naive):
    x = features()
    expected = [[naive([x[c, i, j].item() for c in range(5)]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(reduce(x), expected, rtol=1e-5)


def test_strongest_channels_are_those_of_the_largest_norm():
    x = features(channels=7)
    norms = [math.sqrt(sum(value**2 for value in channel.flatten().tolist())) for channel in x]
    expected = sorted(range(7), key=lambda channel: -norms[channel])
    assert strongest_channels(x, 3) == expected[:3]
    assert strongest_channels(x, 99) == expected
    assert strongest_channels(torch.ones(3, 2, 2), 2) == [0, 1]  # the first of equals


@pytest.mark.parametrize('channels', [5, 40])  # fewer and more than the 12 places
def test_principal_component_is_that_of_the_covariance(channels):
    x = features(channels)
    mean, direction = principal_direction(x)
    places = x.flatten(1).double().numpy().T
    _, vectors = np.linalg.eigh(np.cov(places, rowvar=False))
    expected = vectors[:, -1] * np.sign(vectors[:, -1].sum())
    np.testing.assert_allclose(mean, places.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(direction, expected, atol=1e-5)
    component = project(x, mean, direction)
    np.testing.assert_allclose(component.flatten(), (places - places.mean(axis=0)) @ expected, atol=1e-5)


def test_sign_of_the_principal_component_says_bright_where_channels_are_strong():
    strength = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    x = torch.stack([strength, 2 * strength, 0.1 * strength])
    shown = choose_reduction('pca', x).apply(x)
    assert shown.argmax() == 3 and shown.argmin() == 0
    assert (principal_direction(-x)[1] > 0).all()


def test_tiles_are_in_order_with_lines_between():
    maps = torch.arange(3.0).view(3, 1, 1).expand(3, 2, 3)
    grid = tile(maps)
    nan = math.nan
    expected = [[0, 0, 0, nan, 1, 1, 1]] * 2 + [[nan] * 7] + [[2, 2, 2, nan, nan, nan, nan]] * 2
    np.testing.assert_array_equal(grid, expected)
    assert tile(torch.zeros(9, 50, 40)).shape == (154, 124)  # lines that are seen when shrunk
    assert tile(torch.zeros(1, 4, 4)).shape == (4, 4)


@pytest.mark.parametrize('name', REDUCTIONS)
def test_what_is_chosen_on_clean_features_serves_the_perturbed(name):
    clean, noise = features(16), 0.3 * features(16, seed=1)
    reduction = choose_reduction(name, clean, top_k=4)
    shown, perturbed = reduction.apply(clean), reduction.apply(clean + noise)
    assert shown.shape == perturbed.shape == ((7, 9) if name == 'top_k' else (3, 4))
    # Linear means that the noise by itself, reduced, is the difference; the mean place of 'pca' cancels out.
    alone = reduction.apply(noise) - reduction.apply(torch.zeros_like(noise))
    same = torch.allclose(perturbed - shown, alone, atol=1e-5, equal_nan=True)
    assert same == reduction.linear == (name not in ('max', 'norm'))


def test_random_stream_is_left_alone():
    state = torch.get_rng_state()
    for name in REDUCTIONS:
        choose_reduction(name, features()).apply(features())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize('name', REDUCTIONS)
def test_dead_features_have_a_picture(name):
    dead = torch.zeros(12, 2, 2)
    shown = choose_reduction(name, dead).apply(dead)
    assert not shown.nan_to_num().any()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"reduction must be one of \(.*\), but got 'median'"):
        choose_reduction('median', features())
    with pytest.raises(ValueError, match='top_k must be >= 1, but got 0'):
        choose_reduction('top_k', features(), 0)
