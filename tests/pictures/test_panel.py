import math

import numpy as np
import pytest
import torch
from matplotlib import colormaps

from fnoise_mmdet import FeatureNoise
from fnoise_mmdet.pictures import FeatureMap, feature_panel, snr_db

IMAGE = np.full((32, 48, 3), (200, 30, 30), dtype=np.uint8)


def level(size=8, channels=4, scale=0.3):
    clean = torch.rand(channels, size, size, generator=torch.Generator().manual_seed(0))
    return FeatureMap('level 0', clean, FeatureNoise(scale=scale)(clean[None], (0,))[0])


def test_snr_is_its_formula():
    clean, perturbed = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 4.5]]])
    assert snr_db(clean, perturbed) == pytest.approx(10 * math.log10(25 / 0.25))
    assert snr_db(clean, clean) == math.inf


@pytest.mark.parametrize('scale', [0.2, 0.3])
def test_snr_of_cct_is_that_of_its_uniform_noise(scale):
    _, clean, perturbed = level(size=200, scale=scale)
    assert snr_db(clean, perturbed) == pytest.approx(10 * math.log10(3 / scale**2), abs=0.1)


def has_colour(panel, colour):
    return (np.abs(panel.astype(int) - np.array(colour)).max(axis=2) <= 3).any()


def test_panel_is_a_picture_with_the_input_in_it():
    panel = feature_panel(IMAGE, [level()], 'title')
    assert panel.dtype == np.uint8 and panel.ndim == 3 and panel.shape[2] == 3
    assert has_colour(panel, IMAGE[0, 0])


def test_levels_are_rows_and_noise_adds_columns():
    noisy = level()
    one, two = (feature_panel(IMAGE, [noisy] * count, '') for count in (1, 2))
    plain = feature_panel(IMAGE, [noisy._replace(perturbed=None)], '')
    assert two.shape[0] > 1.5 * one.shape[0] and two.shape[1] == one.shape[1]
    assert plain.shape[1] < one.shape[1] / 2


def test_clean_and_perturbed_share_a_scale_and_the_noise_diverges_around_zero():
    clean = torch.full((1, 4, 4), 1.0)
    clean[0, 0, 0] = 0.0
    perturbed = clean.clone()
    perturbed[0, 0] = 0.5  # half way on the clean scale, and noise of both signs
    panel = feature_panel(IMAGE, [FeatureMap('level', clean, perturbed)], '')

    def colour(name, value):
        return [round(255 * channel) for channel in colormaps[name](value)[:3]]

    assert has_colour(panel, colour('viridis', 0.5))
    assert has_colour(panel, colour('RdBu_r', 0.0)) and has_colour(panel, colour('RdBu_r', 1.0))
    assert has_colour(panel, colour('RdBu_r', 0.5))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_dead_features_are_drawn(dtype):
    zeros = torch.zeros(3, 5, 5, dtype=dtype)
    assert feature_panel(IMAGE, [FeatureMap('dead', zeros, zeros)], '').any()


def test_reductions_differ_and_unknown_is_refused():
    strongest, mean = (feature_panel(IMAGE, [level()], '', reduction) for reduction in ('strongest', 'mean'))
    assert strongest.shape != mean.shape or not np.array_equal(strongest, mean)
    with pytest.raises(ValueError, match=r"reduction must be one of \('strongest', 'mean'\), but got 'max'"):
        feature_panel(IMAGE, [level()], '', 'max')
