import pytest
from mmcv.transforms import LoadImageFromFile
from mmcv.transforms import Resize as PlainResize
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import Resize
from mmdet.models import RetinaNet
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn

from fnoise_mmdet.config import add_fnoise, load_config
from fnoise_mmdet.config.types import type_class, type_name, with_named_types

NEW_STYLE = """
from mmcv.ops import nms
from mmcv.transforms import LoadImageFromFile, RandomResize
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, Resize
from mmdet.models import FPN, ResNet, RetinaNet
from mmengine.hooks import CheckpointHook
from mmengine.model.weight_init import PretrainedInit
from torch.nn import BatchNorm2d, Identity

default_scope = None
model = dict(
    type=RetinaNet,
    backbone=dict(
        type=ResNet,
        depth=18,
        norm_cfg=dict(type=BatchNorm2d),
        init_cfg=dict(type=PretrainedInit, checkpoint='x')),
    neck=dict(type=FPN, in_channels=[64, 128, 256, 512], out_channels=8, num_outs=5),
    extra=dict(type=Identity),
    test_cfg=dict(nms=dict(type=nms, iou_threshold=0.5)))
pipeline = [dict(type=LoadImageFromFile), dict(type=LoadAnnotations), dict(type=RandomResize, resize_type=Resize)]
meta = dict(classes=tuple('abc'))
train_dataloader = dict(dataset=dict(type=CocoDataset, pipeline=pipeline, metainfo=meta))
default_hooks = dict(checkpoint=dict(type=CheckpointHook))
"""


@pytest.fixture
def new_style(tmp_path):
    path = tmp_path / 'new_style.py'
    path.write_text(NEW_STYLE)
    return path


@pytest.mark.parametrize(
    'kind',
    ['CocoDataset', 'mmdet.CocoDataset', 'mmdet.datasets.CocoDataset', 'mmdet.datasets.coco.CocoDataset', CocoDataset],
)
def test_a_type_is_known_however_it_is_named(kind):
    assert type_name(dict(type=kind)) == 'CocoDataset'
    assert type_class(dict(type=kind), DATASETS) is CocoDataset
    assert type_class(dict(type=kind)) is CocoDataset


@pytest.mark.parametrize('config', [{}, None, dict(type=None), [1]])
def test_what_names_no_type(config):
    assert type_name(config) == '' and type_class(config) is None


def test_a_type_that_nobody_knows():
    assert type_name(dict(type='nowhere.Nothing')) == 'Nothing'
    assert type_class(dict(type='nowhere.Nothing')) is type_class(dict(type='Nothing')) is None


def test_a_new_style_config_becomes_one_of_names(new_style):
    cfg = load_config(str(new_style))
    assert cfg.default_scope == 'mmdet'
    assert (cfg.model.type, cfg.model.backbone.norm_cfg.type) == ('RetinaNet', 'BN')
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    assert cfg.model.test_cfg.nms.type == 'nms', 'by which mmcv looks it up'
    assert [step.type for step in cfg.pipeline] == ['LoadImageFromFile', 'LoadAnnotations', 'RandomResize']
    assert cfg.pipeline[2].resize_type == 'Resize'
    assert cfg.model.extra.type == 'torch.nn.modules.linear.Identity'
    assert cfg.train_dataloader.dataset.metainfo.classes == ('a', 'b', 'c')
    assert 'RetinaNet' not in cfg and cfg.filename == str(new_style)


def test_it_is_written_and_read_again_and_mmengines_copy_of_it_is_the_same(new_style, tmp_path):
    cfg = load_config(str(new_style), fnoise='cct')
    (tmp_path / 'again.py').write_text(cfg.pretty_text)
    assert load_config(str(tmp_path / 'again.py')).to_dict() == cfg.to_dict()
    Config.fromfile(new_style).dump(tmp_path / 'dumped.py')
    assert load_config(str(tmp_path / 'dumped.py'), fnoise='cct').to_dict() == cfg.to_dict()


def test_classes_in_an_old_style_config(tmp_path):
    path = tmp_path / 'mixed.py'
    path.write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\nfrom mmdet.models import RetinaNet\n"
        'model = dict(type=RetinaNet)\n'
    )
    cfg = load_config(str(path))
    assert cfg.model.type == 'RetinaNet' and 'RetinaNet' not in cfg
    (tmp_path / 'again.py').write_text(cfg.pretty_text)
    assert load_config(str(tmp_path / 'again.py')).to_dict() == cfg.to_dict()


def test_names_are_left_as_they_are():
    cfg = get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    assert with_named_types(cfg).to_dict() == cfg.to_dict()


def test_classes_without_a_right_name_keep_their_path_or_stay():
    class Local(nn.Module):
        pass

    cfg = with_named_types(Config(dict(a=dict(type=PlainResize), b=dict(type=Resize), c=dict(type=Local))))
    assert cfg.a.type == 'mmcv.transforms.processing.Resize' and cfg.b.type == 'Resize' and cfg.c.type is Local


def test_noise_goes_into_a_config_of_classes():
    backbone = dict(type=LoadImageFromFile)  # any class
    cfg = add_fnoise(Config(dict(model=dict(type=RetinaNet, backbone=backbone, neck=None))))
    assert cfg.model.neck.type == 'FNoiseNeck'
