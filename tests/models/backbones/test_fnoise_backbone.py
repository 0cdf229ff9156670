from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

from fnoise_mmdet import FeatureNoise, FNoiseBackbone
from fnoise_mmdet.engine.torchvision_operators import has_operators
from fnoise_mmdet.noise import DSU


class Pyramid(nn.Module):
    """A backbone of two levels, which returns them as ``kind`` does."""

    def __init__(self, kind):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.kind = kind

    def forward(self, x):
        fine = self.norm(self.conv(x))
        return self.kind(fine, fine[..., ::2, ::2])


def as_dict(fine, coarse):
    return OrderedDict(fine=fine, coarse=coarse)


def as_list(*levels):
    return list(levels)


KINDS = (as_list, as_dict, lambda fine, coarse: fine)


@pytest.fixture
def image():
    torch.manual_seed(0)
    return torch.randn(2, 3, 8, 8)


def levels_of(features):
    if isinstance(features, torch.Tensor):
        return [features]
    return list(features.values()) if isinstance(features, dict) else features


@pytest.mark.parametrize('kind', KINDS)
def test_every_level_is_perturbed_in_proportion(kind, image):
    model = FNoiseBackbone(Pyramid(kind))
    noisy, clean = model(image), model.backbone(image)
    assert type(noisy) is type(clean)
    for y, x in zip(levels_of(noisy), levels_of(clean), strict=True):
        relative = ((y - x) / x).abs()
        assert 0.25 < relative.max() <= 0.3 + 1e-5
        assert 10 < 10 * torch.log10(x.square().sum() / (y - x).square().sum()) < 20  # 15.2 dB expected


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_is_changed_in_evaluation_or_without_noise(kind, image):
    class Same(nn.Module):
        def forward(self, x):
            return self.features

    inner = Same()
    inner.features = kind(image, image)
    assert FNoiseBackbone(inner).eval()(image) is inner.features
    assert FNoiseBackbone(inner, FeatureNoise(scale=0))(image) is inner.features


def test_passes_differ_and_a_seed_repeats_them(image):
    model = FNoiseBackbone(Pyramid(as_list))
    torch.manual_seed(3)
    first, second = model(image)[0], model(image)[0]
    torch.manual_seed(3)
    assert torch.equal(model(image)[0], first) and not torch.equal(first, second)


@pytest.mark.parametrize('kind, levels', [(as_list, [-1]), (as_list, [1]), (as_dict, ['coarse'])])
def test_only_the_levels_that_are_named(kind, levels, image):
    model = FNoiseBackbone(Pyramid(kind), levels=levels)
    (fine, coarse), clean = levels_of(model(image)), levels_of(model.backbone(image))
    assert torch.equal(fine, clean[0]) and not torch.equal(coarse, clean[1])


@pytest.mark.parametrize('kind, levels', [(as_list, [2]), (as_dict, ['finest']), (as_dict, [1])])
def test_a_level_that_does_not_exist(kind, levels, image):
    with pytest.raises((KeyError, IndexError)):
        FNoiseBackbone(Pyramid(kind), levels=levels)(image)


def test_the_closest_level_is_suggested(image):
    with pytest.raises(KeyError, match='did you mean coarse'):
        FNoiseBackbone(Pyramid(as_dict), levels=['corse'])(image)


class Constant(nn.Module):
    """A backbone that returns given features."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, image):
        return self.features


def test_no_levels_means_no_noise(image):
    assert FNoiseBackbone(inner := Constant([image, image]), levels=[])(image) is inner.features


def test_named_tuples_are_kept(image):
    Levels = namedtuple('Levels', 'fine coarse')
    noisy = FNoiseBackbone(Constant(Levels(image, image)), levels=[1])(image)
    assert isinstance(noisy, Levels) and noisy.fine is image and not torch.equal(noisy.coarse, image)


@pytest.mark.parametrize('noise', [FeatureNoise(), FeatureNoise('l2'), DSU()])
@pytest.mark.parametrize(
    ('features', 'levels', 'error', 'message'),
    [
        (torch.ones(2, 3, 8, 8), ['nothing'], ValueError, r"levels must be None .* a tensor, but got \['nothing'\]"),
        ([torch.ones(2, 3, 8, 8)] * 2, [0, -2], ValueError, r'levels must name each level once, but got \[0, -2\]'),
        (as_dict(*[torch.ones(2, 3, 8, 8)] * 2), ['fine', 'fine'], ValueError, 'levels must name each level once'),
        ([torch.ones(0, 3, 8, 8)], None, ValueError, r'level 0 must have a non-empty shape .* but has \(0, 3, 8, 8\)'),
        (as_dict(torch.ones(2, 3, 8), None), ['fine'], ValueError, r'level fine must have .* but has \(2, 3, 8\)'),
        ([torch.ones(2, 3, 8, 8).long()], None, TypeError, 'level 0 must be a tensor of a floating dtype'),
        ([None], None, TypeError, 'level 0 must be a tensor of a floating dtype, but is of type NoneType'),
    ],
)
def test_features_without_noise_are_named(noise, features, levels, error, message, image):
    with pytest.raises(error, match=message):
        FNoiseBackbone(Constant(features), noise, levels)(image)


def test_the_state_dict_is_that_of_the_backbone(image):
    plain = nn.ModuleDict(dict(backbone=Pyramid(as_list)))
    state = plain.state_dict()
    noisy = nn.ModuleDict(dict(backbone=FNoiseBackbone(Pyramid(as_list))))
    assert list(noisy.state_dict()) == list(state)
    noisy.load_state_dict(state)
    assert torch.equal(noisy['backbone'].backbone.conv.weight, state['backbone.conv.weight'])
    plain.load_state_dict(noisy.state_dict())


def test_gradients_reach_the_backbone(image):
    model = FNoiseBackbone(Pyramid(as_dict))
    sum(level.sum() for level in model(image).values()).backward()
    assert model.backbone.conv.weight.grad.abs().sum() > 0


def test_the_backbone_of_torchvision():
    utils = pytest.importorskip('torchvision.models.detection.backbone_utils')
    plain = utils.resnet_fpn_backbone(backbone_name='resnet18', weights=None, trainable_layers=5)
    model = utils.resnet_fpn_backbone(backbone_name='resnet18', weights=None, trainable_layers=5)
    model.body = FNoiseBackbone(model.body)
    model.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(model.eval()(image).values(), plain.eval()(image).values(), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(model.train()(image)['0'], plain.train()(image)['0'])


@pytest.mark.skipif(not has_operators(), reason='torchvision has no operators for this build of torch')
def test_mask_r_cnn_of_torchvision_trains():
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, min_size=128, max_size=128)
    model.backbone.body = FNoiseBackbone(model.backbone.body)
    masks = torch.zeros(1, 128, 128, dtype=torch.uint8)
    masks[:, 20:90, 30:100] = 1
    target = dict(boxes=torch.tensor([[30.0, 20.0, 100.0, 90.0]]), labels=torch.tensor([1]), masks=masks)
    losses = model([torch.rand(3, 128, 128)], [target])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
