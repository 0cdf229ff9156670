import copy
import json
import shutil

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

from fnoise_mmdet.config import (
    COMPARISON_HOOKS,
    NOISE_CONFIGS,
    SAFETY_HOOKS,
    add_comparison_hooks,
    add_fnoise,
    check_has,
    config_classes,
    load_config,
    pretrained_checkpoints,
    remove_pretrained,
    train_from_scratch,
    use_classes,
    use_data_root,
    without_fnoise,
)
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.models.layers import find_noise_layers

FPN = dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=2)


@pytest.fixture
def baseline(root):
    return load_config(str(root / 'configs/baseline.py'))


def demo(root):
    return load_config(str(root / 'configs/demo_fnoise.py'))


def test_options_are_merged(root):
    cfg = load_config(str(root / 'configs/fnoise.py'), {'model.neck.noise.scale': 0.1, 'custom_hooks.1.interval': 7})
    assert cfg.model.neck.noise == dict(type='FeatureNoise', preset='cct', scale=0.1)
    assert cfg.custom_hooks[1].interval == 7


@pytest.mark.parametrize(
    'path, message',
    [
        ('configs/fnoiz.py', 'config configs/fnoiz.py is not a file, did you mean configs/fnoise.py'),
        ('mmdet::retinanet/retinanet_r50_fpn_1x_cocoo.py', 'did you mean retinanet/retinanet_r50_fpn_1x_coco.py'),
        ('fnoise_mmdet::demo_fnoize.py', 'did you mean .*configs/demo_fnoise.py'),
    ],
)
def test_the_closest_config_is_suggested(root, monkeypatch, path, message):
    monkeypatch.chdir(root)
    with pytest.raises(InputError, match=message):
        load_config(path)


@pytest.mark.parametrize(
    'base, message',
    [
        ('midle.py', '_base_ midle.py of .*/top.py not found, did you mean .*/middle.py'),
        ('middle.py', '_base_ nowhere/bottom.py of .*/middle.py not found$'),
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x_cocoo.py',
            'cocoo.py of .*/top.py not found, did you mean .*/retinanet_r50_fpn_1x_coco.py',
        ),
        ('fnoise_mmdet::demo_fnoise.py', 'only by their path: use {root}/configs/demo_fnoise.py$'),
        ('fnoise_mmdet::demo_fnoize.py', 'only by their path, did you mean {root}/configs/demo_fnoise.py'),
    ],
)
def test_a_base_that_is_not_found_is_named(root, tmp_path, base, message):
    (tmp_path / 'middle.py').write_text("_base_ = ['nowhere/bottom.py']")
    (tmp_path / 'top.py').write_text(f'_base_ = {base!r}')
    with pytest.raises(InputError, match=message.format(root=root)):
        load_config(str(tmp_path / 'top.py'))


def test_configs_of_the_package_have_a_name(root):
    assert load_config('fnoise_mmdet::fnoise.py').filename == str(root / 'configs/fnoise.py')


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


@pytest.mark.parametrize(
    ('name', 'is_kept'), [('few.json', True), ('annotations/instances_val.json', False), ('none.json', False)]
)
def test_data_root_keeps_files_of_some_images(root, shapes, tmp_path, name, is_kept):
    """A file of another split is not kept, as its images are in another folder."""
    data = shutil.copytree(shapes, tmp_path / 'data')
    shutil.copy(data / 'annotations/instances_train.json', data / 'few.json')
    cfg = demo(root)
    for part in ('train', 'test'):
        cfg[f'{part}_dataloader'].dataset.ann_file = name
    use_data_root(cfg, str(data), required=('train', 'val'))
    assert cfg.train_dataloader.dataset.ann_file == (name if is_kept else 'annotations/instances_train.json')
    expected = name if is_kept else 'annotations/instances_test.json'
    assert cfg.test_evaluator.ann_file == str(data / expected) and cfg.test_dataloader.dataset.ann_file == expected
    absolute = str(data / 'few.json')
    cfg.train_dataloader.dataset.ann_file = absolute
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/instances_train.json'


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


def test_a_missing_file_of_joined_sets_is_named(root):
    cfg = Config.fromfile(root / 'configs/semi/demo_semi_baseline.py')
    cfg.train_dataloader.dataset.datasets[0].ann_file = 'annotations/nowhere.json'
    with pytest.raises(InputError, match=r'annotation file data/shapes/annotations/nowhere.json not found.*split_coco'):
        use_data_root(cfg, None, required=('train', 'val'))


def test_wrappers_are_looked_into(root, shapes):
    cfg = demo(root)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    assert cfg.train_dataloader.dataset.dataset.data_root == str(shapes)


def test_concatenated_data_sets_keep_the_names_of_their_files(root, shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / 'data')
    cfg = Config.fromfile(root / 'configs/semi/demo_semi_baseline.py')
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    for part in (labelled, unlabelled):
        shutil.copy(shapes / 'annotations/instances_train.json', tmp_path / 'data' / part.ann_file)
    names = [part.ann_file for part in (labelled, unlabelled)]
    use_data_root(cfg, str(tmp_path / 'data'), required=('train', 'val'))
    assert [part.ann_file for part in cfg.train_dataloader.dataset.datasets] == names
    assert {part.data_root for part in cfg.train_dataloader.dataset.datasets} == {str(tmp_path / 'data')}
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'data/annotations/instances_val.json')
    (tmp_path / 'data' / unlabelled.ann_file).unlink()
    with pytest.raises(InputError, match=rf'{unlabelled.ann_file} of train_dataloader not found.*split_coco'):
        use_data_root(cfg, str(tmp_path / 'data'), required=('train', 'val'))


def test_missing_data_root_is_reported_with_remedies(root, tmp_path):
    with pytest.raises(InputError, match='nowhere is not a folder: create it with tools/coco_sample.py .* --data-root'):
        use_data_root(demo(root), str(tmp_path / 'nowhere'), required=('train',))


def test_all_missing_splits_are_named_at_once(root, tmp_path):
    with pytest.raises(InputError, match='no train annotations.*; .* no val annotations'):
        use_data_root(demo(root), str(tmp_path), required=('train', 'val'))


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


def test_data_of_another_format_is_not_redirected(root, shapes):
    cfg = demo(root)
    cfg.train_dataloader.dataset.type = 'CocoPanopticDataset'
    with pytest.raises(InputError, match='has CocoPanopticDataset, which does not read COCO.s instance format'):
        use_data_root(cfg, str(shapes), required=('train', 'val'))


def test_weights_per_class_follow_the_data(baseline, shapes):
    """A list of as many weights as COCO has classes would end the first iteration in a RuntimeError."""
    baseline.model.roi_head.bbox_head.loss_cls.class_weight = [1.0] * 80 + [0.5]
    use_data_root(baseline, str(shapes), required=('train', 'val'))
    assert baseline.model.roi_head.bbox_head.loss_cls.class_weight == [1.0] * 5 + [0.5]


@pytest.mark.parametrize('content', ['circle\nbar\ntriangle\n', 'circle\r\nbar\r\ntriangle'])
def test_classes_may_be_named_in_a_file(root, tmp_path, monkeypatch, content):
    """The file is relative to the current folder, as mmengine reads it."""
    (tmp_path / 'names.txt').write_bytes(content.encode())
    monkeypatch.chdir(tmp_path)
    dataset = demo(root).train_dataloader.dataset
    dataset.metainfo = dict(classes='names.txt')
    assert config_classes(dataset) == ('circle', 'bar', 'triangle')


@pytest.mark.parametrize('name', ['cat', '/'])
def test_class_name_is_distinguished_from_class_file(root, name):
    dataset = demo(root).train_dataloader.dataset
    dataset.metainfo = dict(classes=name)
    with pytest.raises(InputError, match=f"is taken for a text file .* written as a tuple: classes=\\('{name}',\\)"):
        config_classes(dataset)


def test_from_scratch(baseline):
    train_from_scratch(baseline)
    backbone = baseline.model.backbone
    assert backbone.init_cfg is None and backbone.frozen_stages == -1 and backbone.norm_eval is False
    assert backbone.norm_cfg.requires_grad is True


def test_from_scratch_sets_what_a_backbone_knows():
    swin = Config(dict(model=dict(type='X', backbone=dict(type='SwinTransformer', init_cfg=dict(type='Pretrained')))))
    train_from_scratch(swin)
    assert swin.model.backbone == dict(type='SwinTransformer', init_cfg=None, frozen_stages=-1)
    with pytest.raises(InputError, match=r'needs a model with a backbone, but model \(SoftTeacher\) has none'):
        train_from_scratch(Config(dict(model=dict(type='SoftTeacher'))))


def test_what_a_config_lacks_is_named():
    check_has(Config(dict(model=dict(type='X'))), 'model')
    with pytest.raises(InputError, match='the config has no test_dataloader, test_cfg'):
        check_has(Config(dict(model=dict(type='X'), test_cfg=None)), 'model', 'test_dataloader', 'test_cfg')


def test_from_scratch_finds_the_backbone_of_a_detector_within(root):
    path = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    cfg = load_config(path, fnoise='cct')
    train_from_scratch(cfg)
    backbone = cfg.model.detector.backbone
    assert backbone.init_cfg is None and backbone.frozen_stages == -1 and backbone.norm_cfg.requires_grad is True


def test_from_scratch_finds_a_backbone_with_noise_around_it():
    cfg = load_config('mmdet::mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py', fnoise='cct')
    train_from_scratch(cfg)
    assert cfg.model.backbone.neck.init_cfg is None and cfg.model.backbone.neck.norm_eval is False
    assert 'frozen_stages' not in cfg.model.backbone and cfg.load_from is None


@pytest.mark.parametrize('noise', NOISE_CONFIGS)
def test_add_fnoise_by_name(noise):
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', fnoise=noise)
    (layer,) = find_noise_layers(MODELS.build(cfg.model))
    assert repr(layer.noise) == repr(MODELS.build(NOISE_CONFIGS[noise]))
    assert (layer.levels, layer.place) == {
        'mean_normal': ((-1,), 'pre'),
        'uniform_20': (None, 'post'),
        'channel_l2': (None, 'post'),
        'FeatureDropBlock': ((-2, -1), 'stage'),
        'NormalizationPerturbation': ((0,), 'stage'),
        'DSU': (None, 'stage'),
        'MixStyle': ((0, 1), 'stage'),
    }.get(noise, (None, 'pre'))


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('retinanet/retinanet_r50_fpn_1x_coco.py', None),
        ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'detector'),
    ],
)
def test_add_fnoise_at_another_place(name, key):
    plain = load_config(f'mmdet::{name}')
    cfg = add_fnoise(load_config(f'mmdet::{name}'), dict(type='DSU'), levels=[0], place='stage')
    before, after = (one.model[key] if key else one.model for one in (plain, cfg))
    assert after == dict(type='FNoiseDetector', detector=before, place='stage', noise=dict(type='DSU'), levels=[0])
    assert without_fnoise(cfg.model) == plain.model
    with pytest.raises(InputError, match='already has F-Noise'):
        add_fnoise(cfg)


@pytest.mark.parametrize('neck', [FPN, None, [FPN, dict(type='BFP', in_channels=4)]])
def test_without_fnoise_is_the_inverse_of_add_fnoise(neck):
    cfg = Config(dict(model=dict(type='RetinaNet', backbone=dict(type='ResNet', depth=18), neck=neck)))
    plain = copy.deepcopy(cfg.model)
    assert without_fnoise(add_fnoise(cfg).model) == plain


def test_without_fnoise_in_a_list_of_necks():
    wrapped = dict(type='FNoiseNeck', neck=[FPN, FPN])
    alone = dict(type='FNoiseNeck', neck=None)
    assert without_fnoise(dict(neck=[wrapped, alone, FPN])) == dict(neck=[FPN, FPN, FPN])


def test_options_reach_the_noise_that_was_added():
    options = {'model.neck.noise.scale': 0.1, 'model.neck.levels': [0, 1], 'model.neck.neck.out_channels': 64}
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', options, fnoise='cct')
    neck = MODELS.build(cfg.model.neck)
    assert neck.noise.scale == 0.1 and neck.levels == (0, 1) and neck.neck.out_channels == 64
    assert NOISE_CONFIGS['cct'] == dict(type='FeatureNoise', preset='cct'), 'the next config starts afresh'


@pytest.mark.parametrize(
    ('name', 'inner'),
    [
        ('libra_rcnn/libra-retinanet_r50_fpn_1x_coco.py', 'Sequential'),
        ('cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py', 'Identity'),
        ('detr/detr_r50_8xb2-150e_coco.py', 'ChannelMapper'),
        ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'FPN'),
        ('qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py', 'FPN'),
    ],
)
def test_add_fnoise_to_a_list_of_necks_to_no_neck_and_inside_a_detector(name, inner):
    plain = load_config(f'mmdet::{name}')
    cfg = add_fnoise(load_config(f'mmdet::{name}'), dict(type='FeatureNoise', scale=0.2), levels=[0], place='post')
    before = (plain.model.get('detector') or plain.model).get('neck')
    after = (cfg.model.get('detector') or cfg.model).pop('neck')
    assert after == dict(
        type='FNoiseNeck', neck=before, noise=dict(type='FeatureNoise', scale=0.2), levels=[0], position='post'
    )
    neck = MODELS.build(after)
    assert type(neck.neck).__name__ == inner and neck.noise.scale == 0.2
    # Nothing but the neck, and what registers it.
    (plain.model.get('detector') or plain.model).pop('neck', None)
    assert cfg.pop('custom_imports').imports == ['fnoise_mmdet']
    assert cfg._cfg_dict == plain._cfg_dict


def test_a_detector_that_takes_no_neck_gets_noise_after_its_backbone():
    cfg = load_config('mmdet::mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py')
    backbone = cfg.model.backbone
    add_fnoise(cfg)
    assert cfg.model.backbone == dict(
        type='FNoiseNeck', neck=backbone, noise=dict(type='FeatureNoise'), position='post'
    )
    assert 'neck' not in cfg.model


def test_add_fnoise_keeps_what_is_imported_already(baseline):
    assert add_fnoise(baseline).custom_imports.imports == ['fnoise_mmdet']
    other = Config(dict(model=dict(type='RetinaNet', backbone=dict(type='ResNet'), neck=None)))
    other.custom_imports = dict(imports='mmdet.models', allow_failed_imports=True)
    assert add_fnoise(other).custom_imports == dict(imports=['mmdet.models', 'fnoise_mmdet'], allow_failed_imports=True)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (dict(data=1), 'it has no model'),
        (
            dict(model=dict(type='SORT', detector=dict(type='X'))),
            r'its model.detector \(type X\) has no backbone of mmdet',
        ),
        (
            dict(model=dict(type='RetinaNet', backbone=dict(), neck=dict(type='FPN'))),
            r'its model \(type RetinaNet\) has no backbone of mmdet',
        ),
        (
            dict(model=dict(type='RetinaNet', backbone=dict(type='X'), neck=[dict(type='FNoiseNeck', neck=None)])),
            'its model already has F-Noise',
        ),
    ],
)
def test_where_fnoise_cannot_be_added_config_and_reason_are_named(tmp_path, content, reason):
    Config(content).dump(tmp_path / 'some.py')
    with pytest.raises(InputError, match=f'F-Noise cannot be inserted into .*some.py: {reason}'):
        add_fnoise(Config.fromfile(tmp_path / 'some.py'))


def test_missing_shipped_config_is_reported():
    with pytest.raises(InputError, match='mmdet has no config retinanet/nothing.py'):
        load_config('mmdet::retinanet/nothing.py')


def test_hooks_for_a_comparison_are_added_once(root):
    cfg = add_comparison_hooks(load_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'))
    assert [hook['type'] for hook in cfg.custom_hooks] == [*COMPARISON_HOOKS, *SAFETY_HOOKS]
    assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'
    assert cfg.custom_imports['imports'] == ['fnoise_mmdet']
    for path in ('configs/demo_fnoise.py', 'configs/baseline.py'):
        before = load_config(str(root / path)).to_dict()
        assert add_comparison_hooks(load_config(str(root / path))).to_dict() == before, 'our own configs have them'


def test_the_metric_that_is_right_for_all_ids_takes_the_place_of_mmdets():
    cfg = add_comparison_hooks(load_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'))
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'CompleteCocoMetric'
    assert cfg.val_evaluator.metric == ['bbox', 'segm'] and cfg.custom_imports.imports == ['fnoise_mmdet']


def test_all_kinds_of_pretrained_weights_are_found_and_removed():
    other = dict(type='Kaiming', layer='Conv2d')
    model = dict(
        backbone=dict(type='ResNet', pretrained='a.pth'),
        neck=dict(type='FPN', init_cfg=[other, dict(type='Pretrained', checkpoint='b.pth')]),
        bbox_head=dict(type='LDHead', init_cfg=dict(type='mmdet.Pretrained', checkpoint='c.pth')),
        teacher_ckpt='d.pth',
        mask_head=dict(init_cfg=dict(other), pretrained=None),
    )
    cfg = Config(dict(model=model))
    assert sorted(pretrained_checkpoints(cfg)) == ['a.pth', 'b.pth', 'c.pth', 'd.pth']
    remove_pretrained(cfg)
    assert pretrained_checkpoints(cfg) == []
    assert cfg.model.neck.init_cfg == [other] and cfg.model.mask_head.init_cfg == other


def test_a_config_that_ends_the_program_is_named(tmp_path):
    (tmp_path / 'a.py').write_text('import sys\nsys.exit(3)\n')
    with pytest.raises(InputError, match='a.py cannot be read: SystemExit: 3'):
        load_config(str(tmp_path / 'a.py'))


def test_class_names_are_printed_without_escape_sequences(root, capsys):
    use_classes(demo(root), ['a\x1b[31m', 'b'])
    assert 'classes: 2 (a%1B[31m, b)' in capsys.readouterr().out
