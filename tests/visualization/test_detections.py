import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fnoise_mmdet.visualization import Detection, detections_panel
from fnoise_mmdet.visualization.detections import PALETTE, PANEL_WIDTH

GREY = np.full((128, 128, 3), 120, dtype=np.uint8)
CLASSES = ('circle', 'bar', 'ring')


def rgb(colour):
    return np.round(255 * np.array(to_rgb(colour)))


def count(panel, colour):
    """Number of pixels of a colour."""
    return int((np.abs(panel - rgb(colour)).max(axis=2) <= 2).sum())


def square(label='circle', score=0.9, box=(30, 30, 90, 90), masked=True):
    mask = np.zeros((128, 128), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Detection(box, label, score, mask if masked else None)


def halves(panel):
    """The two columns of a panel."""
    return panel[:, : panel.shape[1] // 2], panel[:, panel.shape[1] // 2 :]


def test_detections_are_drawn_in_their_column_alone():
    left, right = halves(detections_panel(GREY, [('baseline', [square()]), ('F-Noise', [])], classes=CLASSES))
    assert count(left, PALETTE[0]) > 300 and count(right, PALETTE[0]) == 0
    # 128 pixels are upscaled to the column's 525; a mask of 60 x 60 is blended with the image.
    blended = np.round(0.55 * 120 + 0.45 * rgb(PALETTE[0])) / 255
    side = 60 * 525 / 128
    assert 0.9 * side**2 < count(left, blended) < side**2


def test_class_has_the_same_colour_in_every_picture():
    one = detections_panel(GREY, [('a', [square('ring')])], classes=CLASSES)
    two = detections_panel(GREY, [('a', [square('bar', box=(0, 0, 40, 40)), square('ring')])], classes=CLASSES)
    assert all(count(panel, PALETTE[CLASSES.index('ring')]) > 300 for panel in (one, two))
    by_alphabet = detections_panel(GREY, [('a', [square('ring')]), ('b', [square('bar')])])
    left, right = halves(by_alphabet)
    assert count(left, PALETTE[1]) > 300 and count(right, PALETTE[0]) > 300


def test_surest_lies_on_top():
    objects = [square('bar', 0.8), square('circle', 0.9)]
    panels = [detections_panel(GREY, [('a', order)], classes=CLASSES) for order in (objects, objects[::-1])]
    assert np.array_equal(*panels)
    assert count(panels[0], PALETTE[0]) > 300 > count(panels[0], PALETTE[1])


def test_labels_leave_most_of_the_picture_free():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 100, (300, 2))
    crowd = [square('bar', 0.5, (x, y, x + 20, y + 20), masked=False) for x, y in starts.tolist()]
    panel = detections_panel(GREY, [('a', crowd)], classes=CLASSES)
    # The backing of labels is the class's colour over grey, opacity 0.9; boxes may lie under it.
    backing = (0.9 * rgb(PALETTE[1]) + 0.1 * 120) / 255
    assert 0 < count(panel, backing) < 0.2 * 640**2


@pytest.mark.parametrize(
    'shape, height', [((480, 640), 394), ((640, 480), 700), ((3000, 4000), 394), ((2000, 20), 788), ((10, 3000), 210)]
)
def test_size_is_limited_for_any_image_size(shape, height):
    image = np.full((*shape, 3), 120, dtype=np.uint8)
    objects = [Detection((0, 0, shape[1], shape[0]), 'a label that is much too long for the column', 0.5)]
    panel = detections_panel(image, [('a', objects), ('b', [])])
    assert PANEL_WIDTH - 10 <= panel.shape[1] <= PANEL_WIDTH
    assert height < panel.shape[0] < height + 80
    assert panel.dtype == np.uint8 and panel.shape[2] == 3


def test_long_and_odd_text_is_wrapped_and_taken_literally():
    short, long = (detections_panel(GREY, [(text, [square(text)])], text) for text in ('$', '$a_b$ ' * 40))
    assert long.shape[0] > short.shape[0] + 100 and long.shape[1] == short.shape[1]


def test_many_columns_and_boxes_beyond_the_image():
    assert detections_panel(GREY, [('a', [])] * 6).shape[1] == 10 + 6 * 250
    boxes = (0, 0, 128, 128), (-50, -5, 200, 900)
    inside, beyond = (detections_panel(GREY, [('a', [square(box=box, masked=False)])]) for box in boxes)
    assert np.array_equal(inside, beyond)


@pytest.mark.parametrize(
    'image, columns, message',
    [
        (
            GREY / 255,
            [('a', [])],
            r'image must be uint8 of shape \(H, W, 3\), but got float64 of shape \(128, 128, 3\)',
        ),
        (GREY[..., 0], [('a', [])], r'but got uint8 of shape \(128, 128\)'),
        (GREY[:0], [('a', [])], r'but got uint8 of shape \(0, 128, 3\)'),
        (GREY, [], 'columns must not be empty'),
        (GREY, [('a', [Detection((1, 2, 3), 'bar')])], "box of a bar in column 'a' must be 4 finite numbers"),
        (GREY, [('a', [Detection((1, 2, 3, np.nan), 'bar')])], 'must be 4 finite numbers'),
        (
            GREY,
            [('a', [Detection((1, 2, 3, 4), 'bar', mask=np.ones((64, 64), dtype=bool))])],
            r'must be bool of shape \(128, 128\), like the image, but got bool of shape \(64, 64\)',
        ),
    ],
)
def test_wrong_arguments(image, columns, message):
    with pytest.raises(ValueError, match=message):
        detections_panel(image, columns)
