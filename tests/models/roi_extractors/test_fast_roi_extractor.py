import torch
from mmcv.ops import RoIPool
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fnoise_mmdet import FastRoIExtractor
from fnoise_mmdet.models.roi_extractors.roi_align import FastRoIAlign


def build(kind: str, roi_layer: dict, **settings) -> torch.nn.Module:
    init_default_scope('mmdet')
    given = dict(roi_layer)
    extractor = MODELS.build(dict(type=kind, roi_layer=roi_layer, out_channels=8, featmap_strides=[4, 8], **settings))
    assert roi_layer == given, 'the config is left as it is'
    return extractor


ALIGN = dict(type='RoIAlign', output_size=7, sampling_ratio=0)


def test_gives_what_mmdet_s_gives_without_parameters():
    features = [torch.randn(2, 8, 64 // stride, 96 // stride) for stride in (4, 8)]
    rois = torch.tensor([[0, 3.0, 2, 30, 25], [1, 10, 7, 17, 40], [1, 0, 0, 95, 63.0]]).repeat(2, 1)
    rois[3:, 3:] *= 8  # of the coarse level
    plain, fast = build('SingleRoIExtractor', ALIGN), build('FastRoIExtractor', ALIGN)
    torch.testing.assert_close(fast(features, rois), plain(features, rois), rtol=1e-4, atol=1e-5)
    assert not fast.state_dict() and [type(layer) for layer in fast.roi_layers] == [FastRoIAlign] * 2
    assert repr(fast.roi_layers[0]).replace('Fast', '') == repr(plain.roi_layers[0])


def test_gives_the_same_in_channels_last():
    features = [torch.randn(2, 8, 64 // stride, 96 // stride, requires_grad=True) for stride in (4, 8)]
    rois = torch.tensor([[0, 3.0, 2, 30, 25], [1, 10, 7, 17, 40], [1, 0, 0, 95, 63.0]])
    expected, found = (
        build('FastRoIExtractor', ALIGN, channels_last=channels_last)(features, rois) for channels_last in (False, True)
    )
    assert found.is_contiguous(memory_format=torch.channels_last) and not found.is_contiguous()
    assert torch.equal(found, expected)
    weights = torch.randn_like(expected)
    assert all(
        torch.equal(*gradients)
        for gradients in zip(*(torch.autograd.grad(pooled, features[0], weights) for pooled in (expected, found)))
    )


def test_leaves_other_layers_alone():
    pool = build('FastRoIExtractor', dict(type='RoIPool', output_size=7))
    assert [type(layer) for layer in pool.roi_layers] == [RoIPool] * 2


def test_our_configs_have_it(root):
    for name in ('baseline', 'fnoise', 'demo_fnoise'):
        head = Config.fromfile(root / f'configs/{name}.py').model.roi_head
        assert head.bbox_roi_extractor.type == head.mask_roi_extractor.type == FastRoIExtractor.__name__
