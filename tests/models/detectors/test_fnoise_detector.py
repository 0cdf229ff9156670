"""Noise at the places of a detector: the demo's Mask R-CNN, and small ones of mmdet's other families."""

import copy

import numpy as np
import pytest
import torch
from compatibility import initialise, read_shipped
from mmdet.apis import init_detector
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from torch import nn

from fnoise_mmdet.config import without_fnoise
from fnoise_mmdet.models.layers import OutputNoise, find_noise_layers
from fnoise_mmdet.noise import FeatureNoise


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')
    MessageHub.get_current_instance().update_info('iter', 0)


@pytest.fixture(scope='module')
def plain_config(root):
    return Config.fromfile(root / 'configs/demo_baseline.py').model


def build(config, **settings):
    """Build a detector with weights that are the same in each call, with noise if there are settings."""
    torch.manual_seed(0)
    config = copy.deepcopy(config)
    model = MODELS.build(dict(type='FNoiseDetector', detector=config, **settings) if settings else config)
    initialise(model)
    return model


def batch(model, size=64, **settings):
    np.random.seed(0)
    data = demo_mm_inputs(2, [[3, size, size]] * 2, num_items=[3, 3], num_classes=5, **{'with_mask': True, **settings})
    return model.data_preprocessor(data, True)


def losses(model, data):
    torch.manual_seed(0)  # RoIs are sampled
    model.train()
    found = model.loss(data['inputs'], copy.deepcopy(data['data_samples']))
    return {name: torch.as_tensor(value if torch.is_tensor(value) else sum(value)) for name, value in found.items()}


def watch(model):
    """Collect what the noise takes and returns, by level."""
    seen = {}
    (layer,) = find_noise_layers(model)
    layer.watchers.append(lambda level, x, y: seen.setdefault(level, []).append((x, y)))
    return seen


PLACES = [dict(place='stage'), dict(place='roi'), dict(place='backbone.layer2', noise=dict(type='DSU'))]


@pytest.mark.parametrize('settings', PLACES)
def test_checkpoint_and_evaluation_are_those_of_the_plain_detector(plain_config, settings):
    plain, noisy = build(plain_config), build(plain_config, **settings)
    assert list(plain.state_dict()) == list(noisy.state_dict())
    noisy.load_state_dict(plain.state_dict(), strict=True)
    plain.load_state_dict(noisy.state_dict(), strict=True)
    seen = watch(noisy)
    data = batch(plain)
    plain.eval(), noisy.eval()
    with torch.no_grad():
        expected, found = (one.predict(data['inputs'], copy.deepcopy(data['data_samples'])) for one in (plain, noisy))
    for a, b in zip(expected, found):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)
    assert seen and all(x is y for pairs in seen.values() for x, y in pairs)


@pytest.mark.parametrize('place', ['stage', 'roi'])
def test_without_noise_the_losses_are_those_of_the_plain_detector(plain_config, place):
    plain, off = build(plain_config), build(plain_config, place=place, noise=dict(type='FeatureNoise', scale=0.0))
    data = batch(plain)
    expected, found = losses(plain, data), losses(off, data)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert any(
        not torch.equal(value, found[name]) for name, value in losses(build(plain_config, place=place), data).items()
    )


def test_later_stages_see_the_noise_of_earlier_ones(plain_config):
    plain, noisy = build(plain_config), build(plain_config, place='stage', levels=[1])
    plain.train(), noisy.train()
    images = batch(plain)['inputs']
    clean, perturbed = plain.backbone(images), noisy.backbone(images)
    assert [torch.equal(x, y) for x, y in zip(clean, perturbed)] == [True, False, False, False]
    reference = FeatureNoise().perturb(clean[1], key=(0, 0, 0, 0, 1))  # seed, rank, iteration, call, level
    assert torch.equal(perturbed[1], reference)
    assert torch.equal(perturbed[2], plain.backbone.layer3(reference))


def test_stages_of_a_model_with_channels_last():
    """Models of timm such as Swin compute in (B, H, W, C), but noise acts on channels."""
    pytest.importorskip('timm')
    torch.manual_seed(0)
    swin = dict(model_name='swin_tiny_patch4_window7_224', img_size=64, window_size=2, embed_dim=24, depths=[1] * 4)
    plain = nn.ModuleDict(dict(backbone=MODELS.build(dict(type='TIMMBackbone', **swin, drop_path_rate=0.0))))
    noisy = copy.deepcopy(plain)
    noise = dict(type='NormalizationPerturbation')
    noisy.output_noise = OutputNoise(noisy, 'stage', noise, levels=[0])
    seen = watch(noisy)
    image = torch.rand(2, 3, 64, 64)
    clean, perturbed = plain.train().backbone(image), noisy.train().backbone(image)
    reference = MODELS.build(noise).perturb(clean[0], key=(0, 0, 0, 0, 0))
    torch.testing.assert_close(perturbed[0], reference)
    assert not torch.equal(perturbed[1], clean[1])
    for level, x in enumerate(perturbed):
        assert torch.equal(seen[level][0][1], x)


def test_regions_of_both_heads_get_noise_of_their_own(plain_config):
    noisy = build(plain_config, place='roi')
    seen = watch(noisy)
    losses(noisy, batch(noisy))
    assert sorted(seen) == [0, 1]
    ((boxes, noisy_boxes),), ((masks, noisy_masks),) = seen[0], seen[1]
    assert boxes.shape[1:] == (64, 7, 7) and masks.shape[1:] == (64, 14, 14)
    assert torch.equal(noisy_boxes, FeatureNoise().perturb(boxes, key=(0, 0, 0, 0, 0)))
    assert torch.equal(noisy_masks, FeatureNoise().perturb(masks, key=(0, 0, 0, 0, 1)))
    only_masks = build(plain_config, place='roi', levels=[-1])
    seen = watch(only_masks)
    losses(only_masks, batch(only_masks))
    assert [torch.equal(*seen[level][0]) for level in (0, 1)] == [True, False]


def test_a_batch_without_regions_has_no_noise(plain_config):
    noisy = build(plain_config, place='roi').train()
    seen = watch(noisy)
    features = [torch.rand(2, 64, 16 // 2**level, 16 // 2**level) for level in range(4)]
    noisy.roi_head.mask_roi_extractor(features, torch.zeros(0, 5))
    assert len(seen[1][0][0]) == 0


def test_noise_is_a_function_of_iteration_and_call(plain_config):
    noisy = build(plain_config, place='stage', levels=[0]).train()
    seen = watch(noisy)
    images = batch(noisy)['inputs']
    state = torch.get_rng_state()
    with torch.no_grad():
        noisy.backbone(images)
        noisy.backbone(images)
        MessageHub.get_current_instance().update_info('iter', 1)
        noisy.backbone(images)
    assert torch.equal(torch.get_rng_state(), state)
    x = seen[0][0][0]
    for (_, y), key in zip(seen[0], [(0, 0, 0, 0, 0), (0, 0, 0, 1, 0), (0, 0, 1, 0, 0)]):
        assert torch.equal(y, FeatureNoise().perturb(x, key))


def test_the_opposite_noise(plain_config):
    noisy = build(plain_config, place='stage', levels=[0]).train()
    seen = watch(noisy)
    images = batch(noisy)['inputs']
    noisy.backbone(images)
    with find_noise_layers(noisy)[0].opposite():
        noisy.backbone(images)
    (x, y), (_, opposite) = seen[0]
    assert not torch.equal(x, y)
    torch.testing.assert_close(y - x, x - opposite)


def test_opposite_of_several_calls_per_pass(plain_config):
    noisy = build(plain_config, place='stage', levels=[0]).train()
    (layer,) = find_noise_layers(noisy)
    seen = watch(noisy)
    images = batch(noisy)['inputs']
    for _ in range(2):  # pairs of views, with two calls each, after a call that belongs to none
        noisy.backbone(images)
        layer.start_view()
        noisy.backbone(images), noisy.backbone(images)
        with layer.opposite():
            noisy.backbone(images), noisy.backbone(images)
    added = [y - x for x, y in seen[0]]
    for first in (1, 6):
        one, other, opposite, opposite_of_other = added[first : first + 4]
        assert not torch.equal(one, other)
        torch.testing.assert_close(one, -opposite)
        torch.testing.assert_close(other, -opposite_of_other)


def test_a_copy_has_noise_of_its_own(plain_config):
    noisy = build(plain_config, place='stage', levels=[0]).train()
    copied = copy.deepcopy(noisy)
    seen, of_copy = watch(noisy), watch(copied)
    copied.backbone(batch(noisy)['inputs'])
    assert not seen and not torch.equal(*of_copy[0][0])
    assert find_noise_layers(copied)[0]._owner() is copied


def test_a_teacher_has_none(plain_config):
    noisy = build(plain_config, place='stage', levels=[0]).train()
    seen = watch(noisy)
    for parameter in noisy.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        noisy.backbone(batch(noisy)['inputs'])
    assert seen[0][0][0] is not None and torch.equal(*seen[0][0])


def test_gradient_checkpointing_repeats_the_noise(plain_config):
    """In a block that is recomputed in the backward pass."""
    config = copy.deepcopy(plain_config)
    data = batch(build(config))
    results = []
    for with_cp in (False, True):
        config.backbone.with_cp = with_cp
        noisy = build(config, place='backbone.layer1.0.conv2')
        seen = watch(noisy)
        found = losses(noisy, data)
        sum(value for name, value in found.items() if 'loss' in name).backward()
        assert len(seen[0]) == 1 + with_cp and not torch.equal(*seen[0][0])
        results.append((found, [one.grad for one in noisy.parameters()]))
    (expected, gradients), (found, repeated) = results
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert all(torch.equal(one, other) for one, other in zip(gradients, repeated, strict=True))


def test_features_that_are_not_finite_are_named(plain_config):
    noisy = build(plain_config, place='stage', levels=[2]).train()
    with pytest.raises(FloatingPointError, match=r'outputs of backbone\.layer3 are not finite in iteration 0: level 2'):
        noisy.backbone(torch.full((1, 3, 64, 64), float('nan')))


@pytest.mark.parametrize(
    'name, place, expected',
    [
        ('detr/detr_r50_8xb2-150e_coco.py', 'query', ['encoder']),
        ('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py', 'roi',
         [f'roi_head.{kind}_roi_extractor.{stage}' for kind in ('bbox', 'mask') for stage in range(3)]),
        ('swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py', 'stage',
         [f'backbone.stages.{stage}.blocks.{last}' for stage, last in enumerate([1, 1, 5, 1])]),
        ('pvt/retinanet_pvt-t_fpn_1x_coco.py', 'stage', [f'backbone.layers.{stage}.2' for stage in range(4)]),
        ('yolox/yolox_tiny_8xb8-300e_coco.py', 'stage', [f'backbone.stage{stage}' for stage in range(1, 5)]),
        ('yolo/yolov3_d53_8xb8-320-273e_coco.py', 'stage', [f'backbone.conv_res_block{one}' for one in range(1, 6)]),
        ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 'stage', [f'backbone.layer{one}' for one in range(1, 8)]),
    ],
)  # fmt: skip
def test_places_of_other_detectors(name, place, expected):
    model = build(read_shipped(name).model, place=place)
    (layer,) = find_noise_layers(model)
    assert layer.names == expected
    seen = watch(model)
    data = batch(model, 320 if 'yolo' in name else 128, with_mask='mask' in name)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()
    losses(model, data)
    assert sorted(seen) == list(range(len(expected)))
    assert all(not torch.equal(x, y) for pairs in seen.values() for x, y in pairs if len(x))


def test_tokens_are_perturbed_as_channels(plain_config):
    model = build(plain_config, place='backbone.layer4', noise=dict(type='NormalizationPerturbation'))
    (layer,) = find_noise_layers(model)
    model.train()
    tokens = torch.randn(2, 12, 5)
    y = layer._replace(0, None, None, (tokens, 'text'))
    assert y[1] == 'text' and y[0].shape == tokens.shape
    as_map = tokens.transpose(1, 2).reshape(2, 5, 3, 4)
    expected = layer.noise.perturb(as_map, (0, 0, 0, 0, 0)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(y[0], expected)
    with pytest.raises(
        ValueError, match=r'output of backbone.layer4 must be a tensor .* but is a tensor of shape \(2, 12\)'
    ):
        layer._replace(0, None, None, tokens[..., 0])


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(place='stages'), r"MaskRCNN has no 'stages', did you mean stage"),
        (dict(place='pots'), r"no 'pots', did you mean post"),
        (dict(place='backbone.layer11'), r"no 'backbone.layer11', did you mean backbone.layer1"),
        (dict(place='query'), 'has no place .query., since encoder outputs do not exist'),
        (dict(place='stage', levels=[4]), r'levels must be in \[-4, 3\] for 4 levels, but got 4'),
        (dict(place='stage', levels=[0, -4]), r'levels must name each of 4 levels once'),
    ],
)  # fmt: skip
def test_invalid_places(plain_config, settings, message):
    with pytest.raises(ValueError, match=message):
        build(plain_config, **settings)


def test_mmdet_initialises_it_for_inference(root):
    cfg = Config.fromfile(root / 'configs/variants/dsu.py')
    with pytest.warns(UserWarning):  # without a checkpoint
        noisy = init_detector(cfg, device='cpu', cfg_options={})
        plain = init_detector(Config({**cfg, 'model': without_fnoise(cfg.model)}), device='cpu')
    assert not noisy.training and list(noisy.state_dict()) == list(plain.state_dict())


def test_noise_stands_in_one_place(plain_config):
    config = dict(type='FNoiseDetector', detector=copy.deepcopy(plain_config), place='stage')
    with pytest.raises(ValueError, match='detector must be one without noise'):
        build(config, place='roi')
