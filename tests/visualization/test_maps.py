import math

import numpy as np
import pytest
import torch

from fnoise_mmdet import FeatureNoise
from fnoise_mmdet.visualization import FeatureMap, save_arrays, snr_db, without_padding
from fnoise_mmdet.visualization.maps import relative_change


def test_snr_is_its_formula():
    clean, perturbed = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 4.5]]])
    assert snr_db(clean, perturbed) == pytest.approx(10 * math.log10(25 / 0.25))
    assert snr_db(clean, clean) == math.inf


@pytest.mark.parametrize('scale', [0.2, 0.3])
def test_snr_of_cct_is_that_of_its_uniform_noise(scale):
    clean = torch.rand(4, 200, 200, generator=torch.Generator().manual_seed(0))
    perturbed = FeatureNoise(scale=scale)(clean[None], (0,))[0]
    assert snr_db(clean, perturbed) == pytest.approx(10 * math.log10(3 / scale**2), abs=0.1)


def test_relative_change_is_its_formula():
    clean = torch.tensor([3.0, 0.0, 4.0, 0.0]).view(2, 1, 2)
    perturbed = torch.tensor([3.0, 7.0, 4.5, 0.0]).view(2, 1, 2)
    np.testing.assert_allclose(relative_change(clean, perturbed), [[0.5 / 5, 0.0]], rtol=1e-6)


def test_padding_is_cut():
    features = torch.zeros(2, 10, 10)
    assert without_padding(features, (75, 160), (160, 160)).shape == (2, 5, 10)
    assert without_padding(features, (81, 1), (160, 160)).shape == (2, 6, 1)


def test_arrays_are_saved_by_level(tmp_path):
    x = torch.arange(6.0).view(1, 2, 3)
    image = np.zeros((4, 6, 3), np.uint8)
    save_arrays(tmp_path / 'new/x.npz', image, [FeatureMap(1, x, None), FeatureMap(3, x.bfloat16(), x + 1)])
    with np.load(tmp_path / 'new/x.npz') as content:
        assert sorted(content) == ['clean_1', 'clean_3', 'image', 'perturbed_3']
        np.testing.assert_array_equal(content['clean_3'], x)
        np.testing.assert_array_equal(content['perturbed_3'], x + 1)
