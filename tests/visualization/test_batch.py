import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from fnoise_mmdet.visualization import Detection
from fnoise_mmdet.visualization.batch import (
    Undrawable,
    as_file_name,
    ground_truth,
    image_id,
    images_of,
    length,
    predicted,
    resizes_boxes,
    to_input,
    to_picture,
)

CORNERS = torch.tensor([[10.0, 20.0, 30.0, 60.0]])


def sample(**info):
    one = DetDataSample(metainfo=dict(img_shape=(40, 60), **info))
    one.gt_instances = InstanceData(bboxes=HorizontalBoxes(CORNERS))
    return one


def video(*frames):
    track = TrackDataSample()
    track.video_data_samples = list(frames)
    return track


def test_images_of_a_batch():
    images, samples = [torch.zeros(3, 40, 60), torch.ones(3, 40, 60)], [sample(img_id=1), sample(img_id=2)]
    assert [(int(x.max()), one.img_id) for x, one in images_of(dict(inputs=images, data_samples=samples))] == [
        (0, 1),
        (1, 2),
    ]
    # Branches of semi-supervised training, where each image is in some of them.
    batch = dict(
        inputs=dict(unsup_student=images[:1], sup=[None, images[1]]),
        data_samples=dict(unsup_student=samples[:1], sup=[None, samples[1]]),
    )
    ((image, one),) = images_of(batch)
    assert image is images[1] and one is samples[1]
    # A video of one frame.
    ((image, one),) = images_of(dict(inputs=[images[1][None]], data_samples=[video(samples[0])]))
    assert image.shape == (3, 40, 60) and one is samples[0]


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        (
            dict(inputs=[torch.zeros(2, 3, 40, 60)], data_samples=[video(sample(), sample())]),
            r'not an image \(C, H, W\), but a tensor of 4 axes',
        ),
        (dict(inputs=[[torch.zeros(3, 4, 4)] * 2], data_samples=[[sample()] * 2]), 'but of type list'),
        (dict(inputs=[torch.zeros(3, 4, 4)]), 'not one of inputs and data_samples'),
        ([torch.zeros(3, 4, 4)], 'not one of inputs and data_samples'),
    ],
)
def test_non_images_are_reported(batch, message):
    with pytest.raises(Undrawable, match=message):
        images_of(batch)


def test_picture_is_rgb():
    blue_green_red = torch.tensor([1.0, 2.4, 300.0]).view(3, 1, 1)
    np.testing.assert_array_equal(to_picture(blue_green_red), [[[255, 2, 1]]])
    assert to_picture(blue_green_red).dtype == np.uint8
    np.testing.assert_array_equal(to_picture(torch.full((1, 1, 1), 7, dtype=torch.uint8)), [[[7, 7, 7]]])


def test_names():
    assert image_id(sample(img_id=7)) == 7
    assert image_id(sample(img_path='a/b.jpg')) == 'b.jpg'
    assert as_file_name('train/a b.jpg') == 'train_a_b.jpg'


def test_boxes_go_from_the_original_image_to_the_input():
    scaled = sample(scale_factor=(2.0, 0.5))
    np.testing.assert_allclose(to_input(CORNERS.numpy(), scaled), [[20, 10, 60, 30]])
    # CornerNet puts the image into the middle of a larger canvas: top, bottom, left, right.
    framed = sample(scale_factor=(2.0, 0.5), border=np.array([5, 45, 7, 67]))
    np.testing.assert_allclose(to_input(CORNERS.numpy(), framed), [[27, 15, 67, 35]])
    np.testing.assert_allclose(to_input(CORNERS.numpy(), sample()), CORNERS)


def test_ground_truth_is_scaled_where_the_pipeline_did_not():
    one = sample(scale_factor=(2.0, 0.5))
    assert ground_truth(one, resized=True) == [Detection(CORNERS[0].tolist(), '')]
    assert ground_truth(one, resized=False) == [Detection([20, 10, 60, 30], '')]
    one.gt_instances.labels = torch.tensor([1])
    assert [found.label for found in ground_truth(one, resized=True, classes=('cat', 'dog'))] == ['dog']
    assert ground_truth(DetDataSample(), resized=True) is None
    one.gt_instances = InstanceData(labels=torch.zeros(2))
    assert ground_truth(one, resized=True) is None


def test_predicted_boxes_are_those_with_a_score_in_its_order():
    one = sample(scale_factor=(2.0, 2.0))
    assert predicted(one) is None
    one.pred_instances = InstanceData(
        bboxes=CORNERS.repeat(3, 1), scores=torch.tensor([0.3, 0.9, 0.29]), labels=torch.tensor([0, 7, 0])
    )
    found = predicted(one, ('cat', 'dog'))
    assert [(list(map(round, some.box)), some.label, round(some.score, 1)) for some in found] == [
        ([20, 40, 60, 120], '', 0.9), ([20, 40, 60, 120], 'cat', 0.3),
    ]  # fmt: skip


class Images:
    """A data set as far as its pipeline goes."""

    def __init__(self, *steps):
        self.pipeline = Compose([dict(type='LoadImageFromFile'), *steps, dict(type='PackDetInputs')])


class Wrapped:
    def __init__(self, **inner):
        vars(self).update(inner)


LOAD, RESIZE = dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(8, 8))
CHOICE = dict(type='RandomChoice', transforms=[[dict(type='RandomChoiceResize', scales=[(8, 8)])], [LOAD]])


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [((LOAD, RESIZE), True), ((RESIZE, LOAD), False), ((LOAD,), True), ((CHOICE, LOAD), False), ((), True)],
)
def test_order_of_the_pipeline_says_whose_pixels_boxes_are_in(steps, expected):
    init_default_scope('mmdet')
    dataset = Images(*steps)
    assert resizes_boxes(dataset) is expected
    assert resizes_boxes(Wrapped(dataset=dataset)) is expected
    assert resizes_boxes(Wrapped(datasets=[dataset, Images(LOAD, RESIZE)])) is expected


@pytest.mark.parametrize(
    ('pixels', 'brightest'),
    [
        (torch.arange(64, dtype=torch.uint8), 63),  # as it is, however dark
        (torch.arange(256.0), 255),
        (torch.arange(64) * 1000, 255),  # 16 bits
        (torch.arange(64) * 60.0, 255),  # 12 of 16 bits
        (torch.linspace(0, 1, 64), 255),  # the unit range
        (torch.linspace(-2.1, 2.6, 64), 255),  # normalized
        (torch.zeros(64), 0),
        (torch.tensor([float('nan'), float('inf'), 0.0, 1.0]), 255),
    ],
)
def test_pictures_of_any_bit_depth_keep_their_contrast(pixels, brightest):
    picture = to_picture(pixels.reshape(1, -1, 1).expand(3, -1, 2))
    assert picture.dtype == np.uint8 and picture.shape == (len(pixels), 2, 3)
    assert picture.max() == brightest and picture.min() == 0
    if len(pixels) > 4:
        assert len(np.unique(picture)) >= min(64, brightest + 1), 'no values are clipped'


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
def test_pictures_of_any_number_of_channels(channels):
    image = torch.stack([torch.full((4, 5), 10 * (i + 1), dtype=torch.uint8) for i in range(channels)])
    picture = to_picture(image)
    assert picture.shape == (4, 5, 3)
    assert picture[0, 0].tolist() == ([30, 20, 10] if channels >= 3 else [10, 10, 10])


def test_length_of_a_stream_is_not_known():
    assert length([1, 2]) == 2 and length(iter([1, 2])) is None
