import copy

import numpy as np
import pytest
import torch
from compatibility import read_shipped
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fnoise_mmdet.models.detectors.soft_targets import check_soft_targets, predict_soft, soft_losses


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')
    torch.set_num_threads(1)


def build(cfg, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(cfg))
    model.init_weights()
    return model


@pytest.fixture
def cfg(root):
    return Config.fromfile(root / 'configs/demo_baseline.py').model


def batch(model):
    np.random.seed(0)
    data = model.data_preprocessor(demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=5, with_mask=True), True)
    return data['inputs'], data['data_samples']


def make_half_background(model, inputs, rois):
    """Change the bias of the background so that it is the most probable class of about half of the proposals."""
    head = model.roi_head.bbox_head.fc_cls
    torch.nn.init.normal_(head.weight, std=0.5)
    logits = model.roi_head._bbox_forward(model.extract_feat(inputs), rois)['cls_score'].detach()
    head.bias.data[-1] += (logits[:, :-1].max(1).values - logits[:, -1]).median()


@pytest.mark.parametrize('agnostic', [False, True])
def test_no_proposal_is_an_object(cfg, agnostic):
    cfg.roi_head.bbox_head.reg_class_agnostic = cfg.roi_head.mask_head.class_agnostic = agnostic
    teacher, student = build(cfg).eval(), build(cfg, seed=1).train()
    teacher.roi_head.bbox_head.fc_cls.bias.data[-1] = 100
    inputs, samples = batch(teacher)
    targets = predict_soft(teacher, inputs, samples, proposals=20)
    assert not targets.has_mask.any()
    losses = soft_losses(student, inputs, targets)
    sum(losses.values()).backward()
    assert losses['loss_mask'] == 0 and losses['loss_cls'] > 0


@pytest.mark.parametrize('agnostic', [False, True])
def test_losses_against_the_formula_for_each_proposal(cfg, agnostic):
    cfg.roi_head.bbox_head.reg_class_agnostic = cfg.roi_head.mask_head.class_agnostic = agnostic
    teacher, student = build(cfg).eval(), build(cfg, seed=1).train()
    inputs, samples = batch(teacher)
    make_half_background(teacher, inputs, predict_soft(teacher, inputs, samples, proposals=20).rois)
    targets = predict_soft(teacher, inputs, samples, proposals=20)
    losses = soft_losses(student, inputs, targets)

    features = [model.extract_feat(inputs) for model in (teacher, student)]
    found = [model.roi_head._bbox_forward(x, targets.rois) for model, x in zip((teacher, student), features)]
    cls, bbox, masks, weights, mask_weights = [], [], [], [], []
    for index, roi in enumerate(targets.rois):
        true, predicted = (one['cls_score'][index].softmax(0) for one in found)
        cls.append(sum((a - b) ** 2 for a, b in zip(true, predicted)))
        label = int(true[:-1].argmax())
        first = 0 if agnostic else 4 * label
        bbox.append(sum((a - b) ** 2 for a, b in zip(*(one['bbox_pred'][index, first : first + 4] for one in found))))
        weights.append(1 - true[-1])
        if true.argmax() < 5:
            logits = [
                model.roi_head._mask_forward(x, roi[None])['mask_preds'][0, 0 if agnostic else label]
                for model, x in zip((teacher, student), features)
            ]
            masks.append(((logits[0].sigmoid() - logits[1].sigmoid()) ** 2).mean())
            mask_weights.append(weights[-1])
    assert len(targets.rois) == 40 and 0 < len(masks) < 40
    expected = dict(
        loss_cls=sum(cls) / 40,
        loss_bbox=sum(w * x for w, x in zip(weights, bbox)) / sum(weights),
        loss_mask=sum(w * x for w, x in zip(mask_weights, masks)) / sum(mask_weights),
    )
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-7)


def test_losses_of_the_teacher_itself_are_zero_and_only_the_student_has_gradients(cfg):
    teacher = build(cfg).eval()
    inputs, samples = batch(teacher)
    targets = predict_soft(teacher, inputs, samples, proposals=20)
    losses = soft_losses(copy.deepcopy(teacher), inputs, targets)
    assert all(value == 0 for value in losses.values())
    assert not any(value.requires_grad for value in targets if value is not None)
    student = build(cfg, seed=1).train()
    sum(soft_losses(student, inputs, targets).values()).backward()
    assert student.backbone.conv1.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in teacher.parameters())


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco.py', 'needs a two-stage detector with a StandardRoIHead, but got Retina'),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 'but got CascadeRoIHead'),
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py', 'but got GridRoIHead'),
        ('sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py', 'predicts deltas, but got StandardRoIHead with SABLHead'),
    ],
)
def test_detectors_without_soft_targets_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        check_soft_targets(MODELS.build(read_shipped(config).model))


def test_another_activation_is_named(cfg):
    cfg.roi_head.bbox_head.loss_cls = dict(type='SeesawLoss', num_classes=5)
    with pytest.raises(ValueError, match='needs a softmax over the classes, but SeesawLoss has other outputs'):
        check_soft_targets(build(cfg))
