"""Detectors of mmdet's families learn from images without labels, and are evaluated."""

import copy

import numpy as np
import pytest
import torch
from compatibility import initialise, read_shipped
from mmdet.models.utils import filter_gt_instances
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope

from fnoise_mmdet import add_fnoise
from fnoise_mmdet.config import nested_dicts

FAMILIES = {
    'two-stage': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'two-stage with masks': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade with masks': 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'one-stage, anchors': 'retinanet/retinanet_r18_fpn_1x_coco.py',
    'one-stage, no anchors': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'one-stage with masks': 'yolact/yolact_r50_1xb8-55e_coco.py',
    'transformer': 'detr/detr_r50_8xb2-150e_coco.py',
    'RTMDet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'YOLOX': 'yolox/yolox_tiny_8xb8-300e_coco.py',
}

LONG = ('cascade with masks', 'one-stage, anchors', 'YOLOX')  # like others here


def stream(seed, size, with_mask):
    np.random.seed(seed)
    batch = demo_mm_inputs(2, [[3, size, size]] * 2, num_items=[3, 3], num_classes=5, with_mask=with_mask)
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(homography_matrix=np.eye(3)))
    return batch


@pytest.mark.parametrize(
    'family', [pytest.param(name, marks=pytest.mark.long if name in LONG else pytest.mark.slow) for name in FAMILIES]
)
def test_a_training_step_and_an_evaluation(family):
    init_default_scope('mmdet')
    hub = MessageHub.get_current_instance()
    for key, value in dict(epoch=0, iter=0, max_iters=100).items():
        hub.update_info(key, value)
    torch.manual_seed(0)
    cfg = add_fnoise(read_shipped(FAMILIES[family]))
    for node in nested_dicts(cfg._cfg_dict):
        node.pop('batch_augments', None)
        if 'score_thr' in node:
            node['score_thr'] = 0.0  # for detections of random weights
        if 'max_per_img' in node:
            node['max_per_img'] = min(node['max_per_img'], 20)  # of proposals and of detections: fewer take less time
    with_mask = any(node.get('with_mask') for node in nested_dicts(cfg._cfg_dict))
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=cfg.model.data_preprocessor)
    model = MODELS.build(
        dict(
            type='FNoiseTeacher', detector=cfg.model, data_preprocessor=preprocessor,
            semi_train_cfg=dict(cls_pseudo_thr=0.0),
        )
    )  # fmt: skip
    initialise(model.student)
    for name, parameter in model.student.named_parameters():
        if 'rtm_reg' in name and name.endswith('bias'):  # or RTMDet's random boxes have a negative size
            parameter.data.fill_(1.0)
    model.teacher.load_state_dict(model.student.state_dict())
    model.train()
    streams = {
        name: model.student.data_preprocessor(stream(seed, 64, with_mask), True)
        for seed, name in enumerate(('sup', 'unsup_teacher', 'unsup_student'))
    }
    inputs, samples = ({name: one[key] for name, one in streams.items()} for key in ('inputs', 'data_samples'))
    losses = model.loss(inputs, copy.deepcopy(samples))
    assert losses['pseudo_labels'] > 0
    for prefix in ('sup_', 'feature_', 'unsup_'):
        total, _ = model.parse_losses({name: value for name, value in losses.items() if name.startswith(prefix)})
        assert total.isfinite() and total > 0, prefix
        model.zero_grad()
        total.backward(retain_graph=True)
        grads = [weight.grad for weight in model.student.parameters() if weight.grad is not None]
        assert sum(grad.abs().sum() for grad in grads) > 0, prefix
    model.eval()
    detected = model.predict(inputs['sup'], samples['sup'])
    assert len(filter_gt_instances(detected)) == 2 and all('pred_instances' in one for one in detected)
