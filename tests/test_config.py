import json
import shutil

import pytest
from mmengine.config import Config

from fnoise_mmdet.config import load_config, train_from_scratch, use_data_root
from fnoise_mmdet.errors import InputError


@pytest.fixture
def baseline(root):
    return load_config(str(root / 'configs/baseline.py'))


def demo(root):
    return load_config(str(root / 'configs/demo_fnoise.py'))


def test_options_are_merged(root):
    cfg = load_config(str(root / 'configs/fnoise.py'), {'model.neck.noise.scale': 0.1, 'custom_hooks.1.interval': 7})
    assert cfg.model.neck.noise == dict(type='FeatureNoise', preset='cct', scale=0.1)
    assert cfg.custom_hooks[1].interval == 7


def test_wrong_config_or_option_is_named(root, tmp_path):
    with pytest.raises(InputError, match='config nowhere.py is not a file'):
        load_config('nowhere.py')
    (tmp_path / 'broken.py').write_text('model = dict(')
    with pytest.raises(InputError, match='broken.py cannot be read: SyntaxError'):
        load_config(str(tmp_path / 'broken.py'))
    with pytest.raises(InputError, match='--cfg-options do not fit'):
        load_config(str(root / 'configs/fnoise.py'), {'custom_hooks.9.interval': 7})


def test_data_root_redirects_every_loader_and_evaluator(root, shapes):
    cfg = demo(root)
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.data_root == str(shapes)
        assert (shapes / dataset.ann_file).is_file() and part in dataset.ann_file
        assert dataset.data_prefix == dict(img=f'{part}/')
    assert cfg.val_evaluator.ann_file == str(shapes / 'annotations/instances_val.json')
    assert cfg.test_evaluator.ann_file == str(shapes / 'annotations/instances_test.json')
    assert cfg.data_root == str(shapes)
    assert cfg.val_dataloader.dataset.pipeline == demo(root).val_dataloader.dataset.pipeline


def test_default_root_may_have_the_layout_of_coco_2017(root, shapes, tmp_path):
    for part in ('train', 'val'):
        shutil.copytree(shapes / part, tmp_path / f'{part}2017')
        target = tmp_path / f'annotations/instances_{part}2017.json'
        target.parent.mkdir(exist_ok=True)
        shutil.copy(shapes / f'annotations/instances_{part}.json', target)
    cfg = demo(root)
    cfg.data_root = str(tmp_path)
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(tmp_path)
    use_data_root(cfg, None, required=('train', 'val'))
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    assert cfg.test_evaluator.ann_file == str(tmp_path / 'annotations/instances_val2017.json')


def test_paths_that_lead_to_files_are_left_alone(root, shapes):
    cfg = demo(root)
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    before = cfg.pretty_text
    use_data_root(cfg, None, required=('train', 'val'))
    assert cfg.pretty_text == before


def test_wrappers_are_looked_into_and_joined_sets_refused(root, shapes):
    cfg = demo(root)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    assert cfg.train_dataloader.dataset.dataset.data_root == str(shapes)
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, inner])
    with pytest.raises(InputError, match='train_dataloader joins 2 data sets'):
        use_data_root(cfg, str(shapes), required=('train', 'val'))


def test_missing_root_names_the_ways_on(root, tmp_path):
    with pytest.raises(InputError, match='nowhere is not a folder: make it with tools/coco_sample.py .* --data-root'):
        use_data_root(demo(root), str(tmp_path / 'nowhere'), required=('train',))


def test_only_what_is_required_must_be_there(root, shapes, tmp_path):
    shutil.copytree(shapes / 'val', tmp_path / 'val')
    (tmp_path / 'annotations').mkdir()
    shutil.copy(shapes / 'annotations/instances_val.json', tmp_path / 'annotations')
    cfg = demo(root)
    use_data_root(cfg, str(tmp_path), required=('test',))
    assert cfg.test_dataloader.dataset.data_prefix == dict(img='val/')
    with pytest.raises(InputError, match='no train annotations'):
        use_data_root(cfg, str(tmp_path), required=('train', 'val'))


def test_classes_of_the_data_set_are_taken_over(baseline, shapes):
    use_data_root(baseline, str(shapes), required=('train', 'val'))
    classes = ('circle', 'bar', 'triangle', 'cross', 'ring')
    for part in ('train', 'val', 'test'):
        assert tuple(baseline[f'{part}_dataloader'].dataset.metainfo.classes) == classes
    assert baseline.model.roi_head.bbox_head.num_classes == 5
    assert baseline.model.roi_head.mask_head.num_classes == 5


def test_classes_of_the_config_stay_where_the_data_set_has_them(root, shapes, tmp_path):
    for part in ('train', 'val'):
        content = json.loads((shapes / f'annotations/instances_{part}.json').read_text())
        content['categories'].append(dict(id=9, name='moon'))
        (tmp_path / part).mkdir()
        path = tmp_path / f'annotations/instances_{part}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    cfg = demo(root)
    use_data_root(cfg, str(tmp_path), required=('train', 'val'))
    assert cfg.model.roi_head.bbox_head.num_classes == 5
    assert len(cfg.train_dataloader.dataset.metainfo.classes) == 5


def test_parts_with_other_categories_are_refused(root, shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / 'data')
    path = tmp_path / 'data/annotations/instances_val.json'
    content = json.loads(path.read_text())
    content['categories'] = content['categories'][::-1]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match='the val annotations .* other categories than those of train'):
        use_data_root(demo(root), str(tmp_path / 'data'), required=('train', 'val'))


def test_from_scratch(baseline):
    train_from_scratch(baseline)
    backbone = baseline.model.backbone
    assert backbone.init_cfg is None and backbone.frozen_stages == -1 and backbone.norm_eval is False
    assert backbone.norm_cfg.requires_grad is True


def test_from_scratch_sets_what_a_backbone_knows():
    swin = Config(dict(model=dict(type='X', backbone=dict(type='SwinTransformer', init_cfg=dict(type='Pretrained')))))
    train_from_scratch(swin)
    assert swin.model.backbone == dict(type='SwinTransformer', init_cfg=None, frozen_stages=-1)
    with pytest.raises(InputError, match='needs a model with a backbone, but SoftTeacher has none'):
        train_from_scratch(Config(dict(model=dict(type='SoftTeacher'))))
