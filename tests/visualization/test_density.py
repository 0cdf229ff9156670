import numpy as np
import torch

from fnoise_mmdet import FeatureNoise
from fnoise_mmdet.visualization import density_panel
from fnoise_mmdet.visualization.density import _magnitudes


def test_noises_differ_in_their_picture():
    clean = torch.randn(8, 32, 32, generator=torch.Generator().manual_seed(0))
    columns = [(name, clean, FeatureNoise(name)(clean[None], (0,))[0]) for name in ('cct', 'mean_normal', 'l2')]
    panels = [density_panel([column], '') for column in columns]
    assert all(panel.dtype == np.uint8 and panel.shape == panels[0].shape for panel in panels)
    assert len({panel.tobytes() for panel in panels}) == 3
    assert density_panel(columns, '', max_size=400).shape[1] == 400


def test_proportional_noise_is_below_its_bound_and_others_are_not():
    clean = torch.randn(8, 32, 32, generator=torch.Generator().manual_seed(0))
    above = {}
    for name in ('cct', 'l2'):
        features, noise = _magnitudes(clean, FeatureNoise(name)(clean[None], (0,))[0])
        above[name] = (noise > 0.3001 * features).mean()
    # P(|eps| > |x|) of a uniform eps and a normal x with standard deviation 1, whose norm scales the noise.
    assert above['cct'] == 0 and abs(above['l2'] - 0.369) < 0.02


def test_features_without_noise_are_drawn():
    panel = density_panel([('none', torch.ones(1, 2, 2), torch.ones(1, 2, 2))], '')
    assert panel.std() > 0, 'not an empty page'
