import pytest

from fnoise_mmdet.config import load_config
from fnoise_mmdet.engine.preflight import (
    check_heads,
    check_model,
    check_training,
)
from fnoise_mmdet.errors import InputError


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('model.neck.noise.preset', 'cctt', "preset must be one of .*, but got 'cctt'"),
        ('model.neck.noise.scale', -0.3, 'scale must be >= 0 and finite, but got -0.3'),
        ('model.neck.noise.scal', 0.3, "unexpected keyword argument 'scal'"),
        ('model.neck.noise.type', 'Noise', 'Noise is not in the mmdet::model registry'),
        ('model.neck.levels', [4], r'levels must be in \[-4, 3\] for 4 levels, but got 4'),
        ('model.neck.position', 'in', 'position must be one of'),
    ],
)
def test_wrong_noise_is_named(cfg, option, value, message):
    cfg.merge_from_dict({option: value})
    with pytest.raises(InputError, match=message):
        check_model(cfg)


def test_the_model_that_is_checked_leaves_the_config_as_it_is(cfg):
    """A study compares it with the one that it was begun with."""
    before = cfg.pretty_text
    check_model(cfg)
    assert cfg.pretty_text == before


def test_wrong_hook_is_named(cfg):
    cfg.merge_from_dict({'custom_hooks.1.interval': 0})
    with pytest.raises(InputError, match=r'custom_hooks\[1\] cannot be used: .*interval must be >= 1, but got 0'):
        check_training(cfg)


def test_a_head_with_too_few_classes_is_named(cfg):
    check_heads(cfg)
    cfg.model.roi_head.mask_head.num_classes = 4
    with pytest.raises(InputError, match='FCNMaskHead of the model has num_classes=4, but the data have 5 classes'):
        check_heads(cfg)


def test_heads_of_a_detector_within_are_checked():
    cfg = load_config('mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py')
    check_heads(cfg)
    cfg.model.detector.roi_head.bbox_head.num_classes = 3
    with pytest.raises(InputError, match='Shared2FCBBoxHead of the model has num_classes=3, but the data have 80'):
        check_heads(cfg)
