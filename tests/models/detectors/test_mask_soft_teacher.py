import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

SETTINGS = dict(
    freeze_teacher=True, sup_weight=1.0, unsup_weight=4.0, pseudo_label_initial_score_thr=0.05, rpn_pseudo_thr=0.05,
    cls_pseudo_thr=0.05, reg_pseudo_thr=10.0, jitter_times=3, jitter_scale=0.06, min_pseudo_bbox_wh=(1e-2, 1e-2),
)  # fmt: skip
FLIP = np.array([[-1.0, 0, 64], [0, 1, 0], [0, 0, 1]], dtype=np.float32)


def stream(seed, homography):
    np.random.seed(seed)
    batch = demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=5, with_mask=True)
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(homography_matrix=homography.astype(np.float32)))
    return batch


def build(root, kind):
    init_default_scope('mmdet')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    detector = Config.fromfile(root / 'configs/demo_baseline.py').model
    detector.test_cfg.rcnn.score_thr = 0.0
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=detector.data_preprocessor)
    model = MODELS.build(
        dict(
            type=kind, detector=detector, data_preprocessor=preprocessor, semi_train_cfg=Config(SETTINGS),
            semi_test_cfg=dict(predict_on='teacher'),
        )
    )  # fmt: skip
    model.student.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    return model.train()


def losses(model):
    views = dict(sup=stream(0, np.eye(3)), unsup_teacher=stream(1, np.eye(3)), unsup_student=stream(1, FLIP))
    found = {name: model.student.data_preprocessor(batch, True) for name, batch in views.items()}
    inputs, samples = ({name: one[key] for name, one in found.items()} for key in ('inputs', 'data_samples'))
    return model.loss(inputs, samples)


def test_masks_of_the_teacher_train_the_student(root):
    model = build(root, 'MaskSoftTeacher')
    found = losses(model)
    assert found['unsup_loss_mask'] > 0 and found['unsup_loss_bbox'] > 0
    found['unsup_loss_mask'].backward()
    grads = [weight.grad for weight in model.student.roi_head.mask_head.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert model.teacher.roi_head.with_mask


def test_masks_and_boxes_are_projected_alike(root):
    model = build(root, 'MaskSoftTeacher')
    batch, other = (model.student.data_preprocessor(stream(1, one), True) for one in (np.eye(3), FLIP))
    labelled, _ = model.get_pseudo_instances(batch['inputs'], copy.deepcopy(batch['data_samples']))
    projected = model.project_pseudo_instances(labelled, other['data_samples'])
    for source, target in zip(labelled, projected):
        before, after = source.gt_instances, target.gt_instances
        assert len(before) == len(after) > 0
        flipped = torch.stack([64 - before.bboxes[:, 2], 64 - before.bboxes[:, 0]], 1)
        torch.testing.assert_close(after.bboxes[:, [0, 2]], flipped)
        # A pixel x covers [x, x + 1): its centre is flipped to 64 - x.
        np.testing.assert_array_equal(after.masks.masks[:, :, 1:], before.masks.masks[:, :, :0:-1])


def test_without_this_class_masks_fail(root):
    with pytest.raises((AttributeError, TypeError)):  # else the class is not needed
        losses(build(root, 'SoftTeacher'))
