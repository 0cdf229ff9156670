import numpy as np
import pytest
import torch
from matplotlib import colormaps

from fnoise_mmdet import FeatureNoise
from fnoise_mmdet.choices import REDUCTIONS
from fnoise_mmdet.visualization import Boxes, Detection, FeatureMap, Sweep, feature_panel, sweep_panel

IMAGE = np.full((32, 48, 3), (200, 30, 30), dtype=np.uint8)


def level(size=8, channels=4, scale=0.3):
    clean = torch.rand(channels, size, size, generator=torch.Generator().manual_seed(0))
    return FeatureMap(0, clean, FeatureNoise(scale=scale)(clean[None], (0,))[0])


def has_colour(panel, colour):
    return (np.abs(panel.astype(int) - np.array(colour)).max(axis=2) <= 3).any()


def test_panel_is_a_picture_with_the_input_in_it():
    panel = feature_panel(IMAGE, [level()], 'title')
    assert panel.dtype == np.uint8 and panel.ndim == 3 and panel.shape[2] == 3
    assert has_colour(panel, IMAGE[0, 0])


def test_levels_are_rows_and_noise_adds_columns():
    noisy = level()
    one, two = (feature_panel(IMAGE, [noisy] * count, '') for count in (3, 6))
    plain = feature_panel(IMAGE, [noisy._replace(perturbed=None)] * 3, '')
    assert two.shape[0] > 1.5 * one.shape[0] and two.shape[1] == one.shape[1]
    assert plain.shape[1] < 0.7 * one.shape[1]


def test_clean_noise_and_perturbed_share_a_scale_and_the_noise_diverges_around_zero():
    clean = torch.full((1, 48, 48), 1.0)
    clean[0, :12] = 0.0
    perturbed = clean.clone()
    perturbed[0, :24] = 0.5  # half way on the scale of the clean map, and noise of both signs
    panel = feature_panel(IMAGE, [FeatureMap(0, clean, perturbed)], '')

    def colour(name, value):
        return [round(255 * channel) for channel in colormaps[name](value)[:3]]

    assert has_colour(panel, colour('viridis', 0.5))
    bars = (panel[:-8] != panel[8:]).any(axis=2).mean(axis=0) > 0.5  # colour bars change from row to row
    maps = panel[:-8][:, ~bars]
    assert all(has_colour(maps, colour('RdBu_r', value)) for value in (0.25, 0.5, 0.75))
    assert not has_colour(maps, colour('RdBu_r', 0.0)) and not has_colour(maps, colour('RdBu_r', 1.0))


def test_coarse_maps_are_upsampled_and_drawn_on_the_image():
    step = torch.zeros(1, 4, 4)
    step[0, :, 2:] = 1.0
    fine = step.repeat_interleave(12, 1).repeat_interleave(12, 2)
    middle = [round(255 * channel) for channel in colormaps['viridis'](0.5)[:3]]
    narrow = np.index_exp[:, : feature_panel(IMAGE, [FeatureMap(0, fine, None)], '').shape[1] * 7 // 8]  # no colour bar
    assert has_colour(feature_panel(IMAGE, [FeatureMap(0, step, None)], '')[narrow], middle)
    panel = feature_panel(IMAGE, [FeatureMap(0, fine, None)], '')
    high = np.array(colormaps['viridis'](1.0)[:3]) * 255
    assert has_colour(panel, np.round(0.6 * high + 0.4 * IMAGE[0, 0]))


def test_a_grid_of_channels_lies_on_no_image_also_beside_a_level_without_noise():
    quiet = level(size=48)._replace(perturbed=None)
    panel = feature_panel(IMAGE, [level(size=48), quiet], '', 'top_k')
    blended = np.round(0.6 * np.array(colormaps['viridis'](1.0)[:3]) * 255 + 0.4 * IMAGE[0, 0])
    assert not has_colour(panel, blended)
    assert has_colour(feature_panel(IMAGE, [level(size=48), quiet], ''), blended)


def test_channels_can_be_given():
    features = (
        torch.stack([torch.rand(8, 8), torch.zeros(8, 8), torch.eye(8)]) * torch.tensor([9.0, 1, 1])[:, None, None]
    )
    panels = [
        feature_panel(IMAGE, [FeatureMap(1, features, None)], '', channels=channels).tobytes()
        for channels in (None, {1: [0]}, {1: [2]}, {0: [2]})
    ]
    assert panels[0] == panels[1] == panels[3] != panels[2]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_dead_features_are_drawn(dtype):
    zeros = torch.zeros(3, 5, 5, dtype=dtype)
    assert feature_panel(IMAGE, [FeatureMap(0, zeros, zeros)], '').std() > 0


def test_reductions_differ_and_unknown_is_refused():
    panels = [feature_panel(IMAGE, [level(channels=16)], '', reduction).tobytes() for reduction in REDUCTIONS]
    assert len(set(panels)) == len(REDUCTIONS)
    with pytest.raises(ValueError, match="reduction must be one of .*'pca', 'top_k'.*, but got 'median'"):
        feature_panel(IMAGE, [level()], '', 'median')


def test_level_without_noise_has_its_features_drawn_alone():
    noisy = level()
    quiet = noisy._replace(level=1, perturbed=None)
    both, two = feature_panel(IMAGE, [noisy, quiet], ''), feature_panel(IMAGE, [noisy, noisy], '')
    assert both.shape == two.shape
    lower_right = both[both.shape[0] * 3 // 5 :, both.shape[1] * 2 // 3 :]
    assert (lower_right == 255).all() and not (two[two.shape[0] * 3 // 5 :, two.shape[1] * 2 // 3 :] == 255).all()


@pytest.mark.parametrize('shape', [(32, 48), (48, 32), (20, 200), (200, 20)])
@pytest.mark.parametrize('max_size', [300, 700])
def test_size_is_limited(shape, max_size):
    panel = feature_panel(np.zeros((*shape, 3), np.uint8), [level()] * 5, 'title', max_size=max_size)
    assert max_size - 2 <= max(panel.shape) <= max_size


def test_boxes_are_drawn_in_two_colours_with_a_legend():
    """In the colours of Okabe and Ito, orange and sky blue, where the image has none of them."""
    orange, blue = (230, 159, 0), (86, 180, 233)
    objects, detections = [Detection([4, 4, 20, 20], '')], [Detection([34, 34, 50, 50], '', 0.9)]
    grey = np.full((60, 90, 3), 128, np.uint8)
    none = feature_panel(grey, [level()._replace(perturbed=None)], '')
    assert not has_colour(none, orange) and not has_colour(none, blue)
    truth = feature_panel(grey, [level()._replace(perturbed=None)], '', boxes=Boxes(ground_truth=objects))
    assert has_colour(truth, orange) and not has_colour(truth, blue)
    both = feature_panel(grey, [level()._replace(perturbed=None)], '', boxes=Boxes(objects, detections))
    assert has_colour(both, orange) and has_colour(both, blue)
    # No box found is told by the legend alone.
    empty = feature_panel(grey, [level()._replace(perturbed=None)], '', boxes=Boxes(predicted=[]))
    assert has_colour(empty, blue)


def test_boxes_have_the_names_of_their_classes_where_there_is_room():
    maps = [level()._replace(perturbed=None)]
    white = np.full((100, 200, 3), 255, np.uint8)

    def picture(*names):
        boxes = Boxes([Detection([20, 20, 60, 80], name) for name in names])
        panel = feature_panel(white, maps, '', boxes=boxes)
        return panel[: int(panel.shape[0] * 0.6)]  # without the legend, which counts them

    def changed(*names):
        return (picture(*names) != picture('')).any(axis=2).sum()

    assert 20 < changed('cat') < changed('hippopotamus')
    np.testing.assert_array_equal(picture('cat', 'dog'), picture('cat', ''))


def test_box_lies_where_its_corners_are():
    white = np.full((100, 200, 3), 255, np.uint8)
    maps = [level()._replace(perturbed=None)]

    def columns(left):
        panel = feature_panel(white, maps, '', boxes=Boxes([Detection([left, 20, left + 40, 80], '')]))
        found = np.abs(panel.astype(int) - np.array((230, 159, 0))).max(axis=2) <= 3
        return found[: int(panel.shape[0] * 0.6)].any(axis=0).nonzero()[0]

    first, second = columns(10), columns(110)
    assert second.min() - first.min() == pytest.approx(130, abs=2)  # 100 of 200 pixels on 2.6 inches of 100 dots


def test_sweep_shows_each_strength_on_the_scale_of_the_clean_map():
    clean = torch.full((1, 4, 4), 1.0)
    clean[0, 0, 0] = 0.0
    half = clean * 0.5
    panel = sweep_panel(IMAGE, [Sweep(0, clean, [half, clean * 9])], ['scale 0.5', 'scale 9'], 'title')

    def colour(value):
        return [round(255 * channel) for channel in colormaps['viridis'](value)[:3]]

    third = panel.shape[1] // 5
    assert has_colour(panel[:, -2 * third - 60 : -third], colour(0.5))
    wider = sweep_panel(IMAGE, [Sweep(0, clean, [half] * 4)] * 2, ['a', 'b', 'c', 'd'], 'title')
    assert wider.shape[1] > panel.shape[1] and wider.shape[0] > panel.shape[0]
