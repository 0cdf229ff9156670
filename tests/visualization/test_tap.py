"""Features of detectors of every kind, taken from one pass."""

import math

import numpy as np
import pytest
import torch
from compatibility import read_shipped
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from fnoise_mmdet import FNoiseNeck, add_fnoise
from fnoise_mmdet.engine.preview import initialise
from fnoise_mmdet.visualization import snr_db
from fnoise_mmdet.visualization.tap import FeatureTap, Tap, find_sites

RETINANET = 'retinanet/retinanet_r18_fpn_1x_coco.py'
YOLOX = 'yolox/yolox_tiny_8xb8-300e_coco.py'
DYHEAD = 'dyhead/atss_r50_fpn_dyhead_1x_coco.py'  # a list of necks
MASK2FORMER = 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'  # no neck
SOFT_TEACHER = 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
CCT_DB = 10 * math.log10(3 / 0.3**2)


def build(name, fnoise=True, train=True, **settings):
    torch.set_num_threads(1)
    MMLogger.get_instance('mmengine').setLevel('ERROR')
    MessageHub.get_instance('tap').update_info('iter', 0)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = read_shipped(name)
    if fnoise:
        add_fnoise(cfg)
    cfg.merge_from_dict(settings)
    model = MODELS.build(cfg.model)
    initialise(model)
    model.train(train)
    return model


def batch_of(shapes=((3, 64, 96), (3, 64, 64))):
    return demo_mm_inputs(len(shapes), list(shapes), num_classes=2, use_box_type=True)


def run(model, batch, source='noise'):
    """Take the features of one pass."""
    tap = FeatureTap(model, source)
    with torch.no_grad():
        model.extract_feat(model.data_preprocessor(batch, model.training)['inputs'])
    tap.detach()
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    return tap.take(batch)


@pytest.mark.parametrize(
    ('name', 'backbone', 'neck'),
    [
        (RETINANET, [64, 128, 256, 512], [256] * 5),
        ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', [512, 1024, 2048], [256] * 4),
        (YOLOX, [96, 192, 384], [96] * 3),
        ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', [96, 192, 384], [96] * 3),
        (DYHEAD, [256, 512, 1024, 2048], [256] * 5),
        (MASK2FORMER, [256, 512, 1024, 2048], None),
    ],
)
@pytest.mark.parametrize('fnoise', [True, False])
def test_detectors_of_every_kind(name, backbone, neck, fnoise):
    model, batch = build(name, fnoise), batch_of()
    if name == MASK2FORMER:
        model.data_preprocessor.batch_augments = None  # pads to 1024 pixels
    for source in ('noise', 'backbone'):
        maps = run(model, batch, source).maps(0)
        assert [len(one.clean) for one in maps] == backbone
        for one in maps:
            assert (one.perturbed is not None) == fnoise
            if fnoise:
                assert snr_db(one.clean, one.perturbed) == pytest.approx(CCT_DB, abs=1)
    if neck is None:
        with pytest.raises(ValueError, match='did not use a neck'):
            run(model, batch, 'neck')
        return
    maps = run(model, batch, 'neck').maps(0)
    assert [len(one.clean) for one in maps] == neck
    for one in maps:
        assert (one.perturbed is not None) == fnoise
        assert not fnoise or 0 < snr_db(one.clean, one.perturbed) < 60


def test_features_are_those_of_the_pass():
    model, batch = build(RETINANET), batch_of()
    tap = FeatureTap(model)
    with torch.no_grad():
        inputs = model.data_preprocessor(batch, True)['inputs']
        outputs = model.extract_feat(inputs)
        tap.detach()
        features = tap.take(batch)
        clean = model.backbone(inputs)
        for x, y, expected in zip(features.clean, features.perturbed, clean):
            torch.testing.assert_close(x, expected)
            assert not torch.equal(x, y)
        for x, expected in zip(model.neck.neck(features.perturbed), outputs):
            torch.testing.assert_close(x, expected)


@pytest.mark.parametrize('train', [True, False])
def test_noise_after_the_neck_is_that_of_the_neck_on_both(train):
    """And neither the statistics nor the modes of the neck change: YOLOX's has batch norm."""
    model, batch = build(YOLOX, train=train), batch_of()
    modes = [module.training for module in model.modules()]
    before = [buffer.clone() for buffer in model.neck.buffers()]
    at_input = run(model, batch)
    after_input = [buffer.clone() for buffer in model.neck.buffers()]
    assert all(torch.equal(a, b) for a, b in zip(before, after_input)) is not train
    tap = FeatureTap(model, 'neck')
    with torch.no_grad():
        model.extract_feat(model.data_preprocessor(batch, train)['inputs'])
    tap.detach()
    buffers = [buffer.clone() for buffer in model.neck.buffers()]
    features = tap.take(batch)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.neck.buffers()))
    assert [module.training for module in model.modules()] == modes
    if train:
        return
    with torch.no_grad():
        for found, inputs in ((features.clean, at_input.clean), (features.perturbed, at_input.perturbed)):
            for x, expected in zip(found, model.neck.neck(tuple(inputs))):
                torch.testing.assert_close(x, expected)


def test_noise_after_the_neck_leaves_the_backbone_clean():
    model, batch = build(RETINANET, **{'model.neck.position': 'post'}), batch_of()
    assert run(model, batch, 'backbone').perturbed is None
    for source in ('noise', 'neck'):
        maps = run(model, batch, source).maps(1)
        assert len(maps) == 5 and all(one.perturbed is not None for one in maps)


@pytest.mark.parametrize('fnoise', [True, False])
def test_noise_on_the_backbone(fnoise):
    """As detectors have it that take no neck."""
    model, batch = build(RETINANET, fnoise=False), batch_of()
    if fnoise:
        wrapper = FNoiseNeck(None, position='post')
        wrapper.neck = model.backbone
        model.backbone = wrapper
    for source in ('noise', 'backbone', 'neck'):
        maps = run(model, batch, source).maps(0)
        assert len(maps) == (5 if source == 'neck' else 4)
        assert all((one.perturbed is not None) == fnoise for one in maps)


def test_noise_among_necks_in_a_row_is_found():
    model, batch = build(RETINANET, fnoise=False), batch_of()
    model.neck = nn.Sequential(model.neck, FNoiseNeck(None, levels=[0]))
    maps = run(model, batch).maps(0)
    assert [one.perturbed is not None for one in maps] == [True, False, False, False, False]
    assert len(run(model, batch, 'neck').maps(0)) == 5


def test_levels_left_alone_have_no_noise_and_some_can_be_chosen():
    features = run(build(RETINANET, **{'model.neck.levels': [1, -1]}), batch_of())
    assert [one.perturbed is not None for one in features.maps(0)] == [False, True, False, True]
    assert [(one.level, one.perturbed is None) for one in features.maps(0, [-1, 0])] == [(3, False), (0, True)]
    with pytest.raises(ValueError, match=r'levels must be in \[-4, 3\] for 4 levels, but got 4'):
        features.maps(0, [4])


def test_padding_is_cut_also_after_a_batch_was_resized():
    """The second image fills two thirds of the width; YOLOX resizes whole batches every few iterations."""
    model, batch = build(YOLOX), batch_of()
    assert [tuple(run(model, batch).maps(place)[0].clean.shape[1:]) for place in (0, 1)] == [(8, 12), (8, 8)]
    model.data_preprocessor.batch_augments[0]._input_size = (192, 288)
    shapes = [tuple(run(model, batch).maps(place)[0].clean.shape[1:]) for place in (0, 1)]
    assert shapes == [(24, 36), (24, 24)]


def test_semi_supervised_training_shows_the_student_on_labelled_images():
    model = build(SOFT_TEACHER)
    sup, unsup = (batch_of(((3, 64, 96),)) for _ in range(2))
    for one in unsup['data_samples']:
        one.set_metainfo(dict(homography_matrix=np.eye(3, dtype=np.float32)))
    branches = dict(sup=sup, unsup_teacher=unsup, unsup_student=unsup)
    batch = {
        key: {
            branch: [one[key][0], None] if branch == 'sup' else [None, one[key][0]] for branch, one in branches.items()
        }
        for key in ('inputs', 'data_samples')
    }
    assert [site.name for site in find_sites(model)] == ['student', 'teacher']
    tap = FeatureTap(model)
    model(**model.data_preprocessor(batch, True), mode='loss')
    tap.detach()
    features = tap.take(batch)
    assert features.site.name == 'student'
    with torch.no_grad():
        inputs = model.data_preprocessor(batch, True)['inputs']['sup']
        torch.testing.assert_close(features.clean[0], model.student.backbone(inputs)[0])
    assert all(one.perturbed is not None for one in features.maps(0))
    # In validation the teacher runs, and shows what training would do.
    model.eval()
    features = run(model, sup)
    assert features.site.name == 'teacher' and all(one.perturbed is not None for one in features.maps(0))


def test_branches_of_tridentnet_share_a_batch():
    features = run(build('tridentnet/tridentnet_r50-caffe_1x_coco.py'), batch_of())
    assert len(features.clean[0]) == 6 and features.maps(1)[0].clean.shape == (1024, 4, 4)


def test_features_of_videos_are_refused():
    features = run(build(RETINANET), batch_of())
    with pytest.raises(ValueError, match=r'features of 2 images are not of the shape \(2, C, H, W\)'):
        features._replace(clean=[x[:1] for x in features.clean]).maps(0)


def test_a_model_without_a_backbone_has_no_detector():
    assert find_sites(nn.Linear(2, 2)) == []


def test_tap_takes_the_first_pass():
    neck = FNoiseNeck(None)
    tap = Tap(neck)
    first, second = [torch.ones(1, 2, 3, 3)], [torch.zeros(1, 2, 3, 3)]
    neck(first)
    neck(second)
    tap.detach()
    assert tap.clean[0] is first[0] and tap.perturbed[0].sum() > 0
    assert tap.padded_shape is None
