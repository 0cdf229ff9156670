import copy

import pytest

from fnoise_mmdet.config import load_config
from fnoise_mmdet.config.heads import class_counts, head_findings, set_classes
from fnoise_mmdet.config.types import type_name
from fnoise_mmdet.errors import InputError

OLD, NEW = ('a', 'b', 'c', 'd'), ('x', 'y')


def bbox_head(weights, **loss):
    return dict(
        bbox_head=dict(type='H', num_classes=4, loss_cls=dict(type='CrossEntropyLoss', **loss, class_weight=weights))
    )


def carried(weights, new=NEW, **loss):
    model = bbox_head(weights, **loss)
    set_classes(model, OLD, new)
    assert not list(head_findings(model, new))
    return model['bbox_head']['loss_cls']['class_weight']


def test_equal_weights_are_carried_over_with_that_of_the_background():
    assert carried([2.0] * 4 + [0.1]) == [2.0, 2.0, 0.1]
    assert carried((1, 1, 1, 1), use_sigmoid=True) == (1, 1)


def test_weights_are_carried_over_by_name():
    assert carried([1, 2, 3, 4, 0.5], new=('d', 'b')) == [4, 2, 0.5]


def test_weights_that_were_given_for_the_new_classes_stay():
    assert carried([1, 2, 0.5]) == [1, 2, 0.5]
    assert carried([1, 2], use_sigmoid=True) == [1, 2]


def test_weights_that_cannot_be_carried_over_are_refused():
    place = r'model\.bbox_head\.loss_cls\.class_weight'
    match = (
        rf'{place} has weights for the config.s 4 classes, .* to the 2 of the data \(x, y\): set 3 weights, the last'
    )
    with pytest.raises(InputError, match=match):
        carried([1, 2, 3, 4, 0.5])


@pytest.mark.parametrize(('length', 'loss'), [(4, {}), (6, {}), (5, dict(use_sigmoid=True))])
def test_wrong_number_of_weights_is_reported(length, loss):
    (finding,) = head_findings(bbox_head([1.0] * length, **loss), OLD)
    wanted = 4 if loss else 5
    assert finding == (
        f'model.bbox_head.loss_cls.class_weight must have {wanted} weights for 4 classes, but has {length}'
    )


def test_names_of_classes_are_replaced():
    model = dict(bbox_head=dict(num_classes=4, names=list(OLD), scales=[1, 2, 3, 4]))
    set_classes(model, OLD, NEW)
    assert model['bbox_head'] == dict(num_classes=2, names=list(NEW), scales=[1, 2, 3, 4])


@pytest.mark.parametrize(
    'name',
    [
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',  # things, stuff, a list of weights
        'detectors/htc_r50-sac_1x_coco.py',  # cascaded heads, and a head of other classes than the objects'
        'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py',  # a loss that counts classes
        'faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py',  # an RPN of one class
        'yolact/yolact_r50_1xb8-55e_coco.py',
        'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
        'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py',
        'queryinst/queryinst_r50_fpn_1x_coco.py',
        'solov2/solov2_r50_fpn_1x_coco.py',
    ],
)
def test_detectors_of_mmdet_take_over_classes(name):
    cfg = load_config(f'mmdet::{name}')
    before = copy.deepcopy(cfg.model)
    counts = {count for _, _, count in class_counts(cfg.model)}
    assert len(counts) == 1
    old = [f'class {i}' for i in range(counts.pop())]
    set_classes(cfg.model, old, NEW)
    assert {count for _, _, count in class_counts(cfg.model)} == {2}
    assert not list(head_findings(cfg.model, NEW)) and list(head_findings(cfg.model, (*NEW, 'z')))
    for part in ('rpn_head', 'semantic_head'):
        for place in (cfg.model, cfg.model.get('roi_head', {})):
            if part in place:
                assert place[part] == (before if place is cfg.model else before.roi_head)[part], type_name(place[part])
