import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fnoise_mmdet import TIMMBackbone, add_fnoise
from fnoise_mmdet.errors import InputError

pytest.importorskip('timm')
# A plain ConvNet, RegNet, a transformer with a pyramid, one that returns channels last, MobileNet, EfficientNet.
MODELS_OF_TIMM = [
    'convnext_atto', 'regnetx_002', 'pvt_v2_b0', 'swin_tiny_patch4_window7_224', 'mobilenetv3_small_050',
    'tf_efficientnet_lite0',
]  # fmt: skip


def build(name: str, **settings: object) -> TIMMBackbone:
    if name.startswith('swin'):
        settings |= dict(img_size=(64, 96), window_size=2, embed_dim=24, depths=(1, 1, 1, 1))
    return MODELS.build(dict(type='TIMMBackbone', model_name=name, **settings))


@pytest.mark.parametrize('name', MODELS_OF_TIMM)
def test_levels_have_the_named_channels_and_strides(name):
    backbone = build(name).eval()
    levels = backbone(torch.zeros(1, 3, 64, 96))
    assert backbone.strides == [4, 8, 16, 32]
    for level, channels, stride in zip(levels, backbone.out_channels, backbone.strides):
        assert level.shape == (1, channels, 64 // stride, 96 // stride)


def detector(name: str) -> Config:
    """RetinaNet with a backbone of timm."""
    backbone = build(name)
    settings = dict(type='TIMMBackbone', model_name=name)
    if name.startswith('swin'):
        settings |= dict(img_size=(64, 96), window_size=2, embed_dim=24, depths=(1, 1, 1, 1))
    model = dict(
        type='RetinaNet',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=settings,
        neck=dict(type='FPN', in_channels=backbone.out_channels, out_channels=16, num_outs=5),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=5,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[8, 16, 32, 64, 128],
            ),
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
    )
    return Config(dict(model=model))


@pytest.mark.parametrize('name', MODELS_OF_TIMM)
def test_a_detector_takes_a_step_and_fnoise_leaves_its_state_dict(name):
    init_default_scope('mmdet')
    plain, noisy = MODELS.build(detector(name).model), MODELS.build(add_fnoise(detector(name)).model).train()
    noisy.load_state_dict(plain.state_dict(), strict=True)
    batch = demo_mm_inputs(2, [[3, 64, 96]] * 2, num_classes=5)
    data = noisy.data_preprocessor(batch, training=True)
    loss, _ = noisy.parse_losses(noisy(**data, mode='loss'))
    loss.backward()
    gradients = [p.grad for p in noisy.backbone.parameters() if p.grad is not None]
    assert loss.isfinite() and any(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize('stages', [1, 3])
@pytest.mark.parametrize('name', MODELS_OF_TIMM)
def test_frozen_stages_are_what_their_level_depends_on(name, stages):
    trained = build(name).train()
    trained(torch.rand(2, 3, 64, 96))[stages - 1].sum().backward()
    depends = {key for key, weight in trained.named_parameters() if weight.grad is not None}
    frozen = build(name, frozen_stages=stages).train()
    assert {key for key, weight in frozen.named_parameters() if not weight.requires_grad} == depends
    for module in frozen.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.training == module.weight.requires_grad


def test_missing_stages_cannot_be_frozen():
    with pytest.raises(InputError, match=r'frozen_stages must be in \[-1, 4\], but got 5'):
        build('tf_efficientnet_lite0', frozen_stages=5)


def test_norm_eval_keeps_the_statistics():
    backbone = build('tf_efficientnet_lite0', norm_eval=True).train()
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in backbone.named_buffers())
    backbone = build('tf_efficientnet_lite0').train()
    backbone(torch.rand(2, 3, 64, 64))
    assert not all(torch.equal(before[key], value) for key, value in backbone.named_buffers())


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(model_name='efficientnet_lite_0'), "timm cannot create 'efficientnet_lite_0'.*did you mean"),
        (dict(model_name='tf_efficientnet_lite0', out_indices=(3, 9)), 'timm cannot create'),
        (dict(model_name='tf_efficientnet_lite0', depht=3), 'timm cannot create.*depht'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        TIMMBackbone(**settings)


def test_timm_is_missing(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'timm', None)
    with pytest.raises(InputError, match='pip install timm torchvision'):
        TIMMBackbone('tf_efficientnet_lite0')
