import json
import os
import shutil

import pytest

from fnoise_mmdet.config import innermost_datasets, is_coco, load_config, use_data_root
from fnoise_mmdet.datasets.shapes import CLASSES
from fnoise_mmdet.engine.preflight import (
    check_data,
    check_training,
)
from fnoise_mmdet.errors import InputError


def test_missing_image_is_named(cfg, data):
    (data / 'train/000007.png').unlink()
    with pytest.raises(InputError, match='1 of 16 images are missing in .*train, the first one is 000007.png'):
        check_training(cfg)


def test_annotation_file_that_is_not_coco_is_named(cfg, data):
    (data / 'annotations/instances_val.json').write_text('{"images": []}')
    with pytest.raises(InputError, match="instances_val.json is not in COCO format: it has no list 'annotations'"):
        check_training(cfg)


def test_evaluator_without_its_file_is_named(cfg):
    cfg.val_evaluator.ann_file = 'nowhere.json'
    with pytest.raises(InputError, match='nowhere.json of val_evaluator not found'):
        check_data(cfg, ['val'])


def test_classes_that_the_data_lacks_are_named(cfg):
    cfg.val_dataloader.dataset.metainfo.classes = ('cat',)
    with pytest.raises(InputError, match=r"none of the config's classes \(cat...\), but circle, bar"):
        check_data(cfg, ['val'])


@pytest.fixture
def edit(data):
    """Change the content of a part's annotation file, and write it under a name, the same by default."""

    def apply(part, change, name=None):
        path = data / f'annotations/instances_{part}.json'
        coco = json.loads(path.read_text())
        change(coco)
        target = path.with_name(name or path.name)
        target.write_text(json.dumps(coco))
        return target

    return apply


@pytest.mark.parametrize('way', ['--data-root', "the config's own paths"])
@pytest.mark.parametrize('part', ['train', 'val'])
def test_categories_in_another_order_are_refused(root, cfg, data, edit, part, way):
    """mmdet numbers labels in the order of the file: AP and validation loss would be those of other classes."""
    edit(part, lambda coco: coco['categories'].reverse())
    if way == '--data-root':
        cfg = load_config(str(root / 'configs/demo_fnoise.py'))
        use_data_root(cfg, str(data), required=('train', 'val'))
    with pytest.raises(
        InputError, match=r"instances_\w+.json: it lists the config's classes in another order.* label 0 is"
    ):
        check_data(cfg, ['train', 'val'])


def test_an_evaluator_whose_file_has_another_order_is_refused(cfg, edit):
    cfg.val_evaluator.ann_file = str(edit('val', lambda coco: coco['categories'].reverse(), 'other.json'))
    with pytest.raises(InputError, match="other.json: it lists the config's classes in another order"):
        check_data(cfg, ['train', 'val'])


def test_classes_of_the_config_in_another_order_than_its_files_are_refused(cfg):
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(classes=tuple(reversed(CLASSES)))
    with pytest.raises(
        InputError, match='instances_train.json: it lists .* another order(?s:.*)instances_val.json: it lists'
    ):
        check_data(cfg, ['train', 'val'])


def test_parts_of_the_config_with_other_classes_are_refused(cfg):
    cfg.val_dataloader.dataset.metainfo = dict(classes=CLASSES[:3])
    with pytest.raises(
        InputError, match=r'val_dataloader has other classes .* is \(circle, bar, triangle\), and \(circle, bar,'
    ):
        check_data(cfg, ['train', 'val'])


def test_more_categories_and_other_ids_are_right(cfg, edit):
    def change(coco):
        for one in [*coco['categories'], *coco['annotations']]:
            key = 'id' if 'name' in one else 'category_id'
            one[key] = 7 * one[key]
        coco['categories'].insert(1, dict(id=1, name='moon'))

    edit('val', change)
    check_data(cfg, ['train', 'val'])


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        (
            dict(filter_cfg=dict(min_size=1000)),
            'filters all 16 images.*16 are below filter_cfg.min_size=1000 pixels',
        ),
        (dict(indices=0), 'the data set is empty, because its indices are 0'),
        (dict(indices=[]), r'the data set is empty, because its indices are \[\]'),
    ],
)
def test_a_data_set_that_filters_leave_empty_is_named(cfg, settings, reason):
    """mmengine would say: need at least one array to concatenate."""
    cfg.train_dataloader.dataset.update(settings)
    with pytest.raises(InputError, match=reason):
        check_data(cfg, ['train'])


@pytest.mark.parametrize('settings', [dict(filter_cfg=dict(min_size=1000), test_mode=True), dict(indices=-1)])
def test_what_is_not_filtered_or_not_all_of_it_passes(cfg, settings):
    cfg.train_dataloader.dataset.update(settings)
    check_data(cfg, ['train'])


def without_annotations(cfg, edit, **evaluator):
    path = edit('val', lambda coco: coco.pop('annotations'), 'image_info_test.json')
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_dataloader.dataset.ann_file = 'annotations/image_info_test.json'
    cfg.test_evaluator = dict(type='CocoMetric', ann_file=str(path), metric='bbox', **evaluator)


def test_a_test_set_without_annotations_is_for_results_alone(cfg, edit):
    without_annotations(cfg, edit, format_only=True, outfile_prefix='results')
    check_data(cfg, ['test'])
    del cfg.test_evaluator.outfile_prefix
    with pytest.raises(InputError, match='has format_only, but no outfile_prefix'):
        check_data(cfg, ['test'])
    without_annotations(cfg, edit)
    with pytest.raises(InputError, match="it has no list 'annotations'"):
        check_data(cfg, ['test'])


def test_unlabelled_images_need_no_annotations(cfg, edit):
    """As those of a semi-supervised training, of which mmdet has COCO's list of files."""
    edit('train', lambda coco: (coco.pop('annotations'), coco['categories'].reverse()))
    with pytest.raises(InputError, match="it has no list 'annotations'"):
        check_data(cfg, ['train'])
    cfg.train_dataloader.dataset.pipeline[1] = dict(type='LoadEmptyAnnotations')
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    check_data(cfg, ['train'])


@pytest.mark.parametrize(
    ('loader', 'dataset'),
    [
        (dict(type='LoadMultiChannelImageFromFiles'), {}),
        (dict(type='LoadImageFromFile', backend_args=dict(backend='petrel')), {}),
        (dict(type='LoadImageFromFile', imdecode_backend='tifffile'), {}),
        (dict(type='LoadImageFromFile'), dict(data_prefix=dict(img='http://server/images/'))),
    ],
)
def test_images_that_another_loader_reads_are_not_checked(cfg, data, loader, dataset):
    shutil.rmtree(data / 'train')
    cfg.train_dataloader.dataset.pipeline[0] = loader
    cfg.train_dataloader.dataset.update(dataset)
    check_data(cfg, ['train'])


@pytest.mark.parametrize('settings', [dict(data_root='s3://bucket/'), dict(backend_args=dict(backend='petrel'))])
def test_annotations_in_another_store_are_not_checked(cfg, settings, capsys):
    cfg.train_dataloader.dataset.update(settings, ann_file='nowhere.json')
    check_data(cfg, ['train'])
    assert 'nowhere.json of train_dataloader is not checked' in capsys.readouterr().out
    use_data_root(cfg, None, required=('train',))
    assert cfg.train_dataloader.dataset.ann_file == 'nowhere.json'


def test_data_in_another_format_must_be_there_and_is_not_read(tmp_path):
    cfg = load_config('mmdet::pascal_voc/retinanet_r50_fpn_1x_voc0712.py')
    for dataset in innermost_datasets(cfg.train_dataloader.dataset):
        dataset.data_root = str(tmp_path)
    with pytest.raises(InputError, match=r'annotation file .*trainval.txt of train_dataloader not found'):
        check_data(cfg, ['train'])
    for dataset in innermost_datasets(cfg.train_dataloader.dataset):
        (tmp_path / dataset.ann_file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / dataset.ann_file).write_text('000005')
    check_data(cfg, ['train'])


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [('CocoDataset', True), ('CityscapesDataset', True), ('LVISV1Dataset', False), ('CocoPanopticDataset', False)],
)
def test_formats_are_distinguished(kind, expected):
    assert is_coco(dict(type=kind)) == expected


def test_a_part_that_the_config_leaves_out_is_not_asked_for(cfg):
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    check_data(cfg, ['train', 'val'])


def test_an_image_that_cannot_be_decoded_or_has_another_size_is_named(cfg, data):
    (data / 'train/000001.png').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'image .*000001.png cannot be decoded'):
        check_data(cfg, ['train'])
    shutil.copy(data / 'train/000002.png', data / 'train/000001.png')
    path = data / 'annotations/instances_train.json'
    coco = json.loads(path.read_text())
    coco['images'][0]['width'] += 10
    path.write_text(json.dumps(coco))
    with pytest.raises(InputError, match=r'image .*000001.png has \d+ x \d+ pixels, but \d+ x \d+ in the annotations'):
        check_data(cfg, ['train'])


def test_annotations_that_are_faulty_are_named(cfg, data):
    path = data / 'annotations/instances_train.json'
    coco = json.loads(path.read_text())
    coco['annotations'][1]['id'] = coco['annotations'][0]['id']
    path.write_text(json.dumps(coco))
    with pytest.raises(InputError, match='1 ids of annotations are used more than once'):
        check_data(cfg, ['train'])


def test_a_path_that_is_not_utf_8_is_refused_as_the_config_cannot_be_saved(cfg, data, tmp_path):
    folder = tmp_path / os.fsdecode(b'd\xe4ta')
    folder.symlink_to(data)
    use_data_root(cfg, str(folder), required=('train', 'val'))
    with pytest.raises(InputError, match='d%E4ta in the config is not UTF-8'):
        check_data(cfg, ['train'])


def test_an_image_whose_name_is_not_utf_8_is_read(cfg, data):
    name = os.fsdecode(b'\xe4.png')
    (data / 'train/000001.png').rename(data / 'train' / name)
    path = data / 'annotations/instances_train.json'
    coco = json.loads(path.read_text())
    coco['images'][0]['file_name'] = name
    path.write_text(json.dumps(coco))
    check_data(cfg, ['train'])
    (data / 'train' / name).write_bytes(b'no image')
    with pytest.raises(InputError, match=r'image .*/%E4.png cannot be decoded'):
        check_data(cfg, ['train'])


@pytest.mark.parametrize('kind', ['folder', 'pipe', 'link'])
def test_what_is_no_file_is_named_before_it_is_opened(cfg, data, kind):
    path = data / 'train/000003.png'
    path.unlink()
    dict(folder=path.mkdir, pipe=lambda: os.mkfifo(path), link=lambda: path.symlink_to('nowhere'))[kind]()
    with pytest.raises(InputError, match=r'1 of 16 images in .*train are not files .*, the first one is 000003.png'):
        check_data(cfg, ['train'])


@pytest.fixture
def change(data):
    """Change each annotation of a part, or drop it where the change returns False."""

    def apply(part, change_one):
        path = data / f'annotations/instances_{part}.json'
        coco = json.loads(path.read_text())
        coco['annotations'] = [one for one in coco['annotations'] if change_one(one) is not False]
        path.write_text(json.dumps(coco))

    return apply


@pytest.mark.parametrize('part', ['train', 'val'])
def test_masks_are_asked_for_where_they_are_used(cfg, change, part):
    change(part, lambda one: one.update(segmentation=[]))
    with pytest.raises(InputError, match=r'annotations have no mask, the first one: annotation 1: segmentation \[\]'):
        check_data(cfg, [part])
    cfg.val_evaluator.metric = 'bbox'
    for dataset in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset):
        dataset.pipeline = [step for step in dataset.pipeline if step.type != 'LoadAnnotations']
    check_data(cfg, [part])


def test_polygons_that_end_a_validation_are_errors_there_alone(cfg, change, capsys):
    for part in ('train', 'val'):
        change(part, lambda one: one.update(segmentation=[[5, 5]]) if one['id'] == 1 else None)
    check_data(cfg, ['train'])
    assert 'warning' in (told := capsys.readouterr().out) and '1 masks have no polygon' in told
    with pytest.raises(InputError, match='1 masks have no polygon of at least three corners'):
        check_data(cfg, ['val'])


def test_the_file_of_an_evaluator_is_checked_where_it_is_another(cfg, data, change):
    shutil.copy(data / 'annotations/instances_val.json', data / 'other.json')
    cfg.val_evaluator.ann_file = str(data / 'other.json')
    change('val', lambda one: one.update(iscrowd=None))
    check_data(cfg, ['val'])
    (data / 'other.json').write_text((data / 'other.json').read_text().replace('"iscrowd": 0', '"iscrowd": "0"'))
    with pytest.raises(InputError, match=r"other.json: \d+ annotations have an 'iscrowd' that is neither 0 nor 1"):
        check_data(cfg, ['val'])


@pytest.mark.parametrize('nothing', [lambda one: False, lambda one: one.update(iscrowd=1)])
def test_a_training_without_objects_is_refused(cfg, change, nothing):
    change('train', nothing)
    with pytest.raises(InputError, match='no training objects'):
        check_data(cfg, ['train'])
    cfg.train_dataloader.dataset.filter_cfg = None
    with pytest.raises(InputError, match='no training objects'):
        check_data(cfg, ['train'])


def test_a_validation_without_objects_is_warned_of_unless_something_waits_for_its_ap(cfg, change, capsys):
    change('val', lambda one: False)
    check_data(cfg, ['val'])
    assert 'AP is undefined and not reported' in capsys.readouterr().out
    cfg.default_hooks.checkpoint.save_best = 'val_loss'
    check_data(cfg, ['val'])
    cfg.default_hooks.checkpoint.save_best = 'coco/bbox_mAP'
    with pytest.raises(InputError, match='save_best is coco/bbox_mAP, but AP is undefined'):
        check_data(cfg, ['val'])
    cfg.default_hooks.checkpoint.save_best = None
    cfg.custom_hooks.append(dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP'))
    with pytest.raises(InputError, match='monitor of EarlyStoppingHook is coco/bbox_mAP'):
        check_data(cfg, ['val'])
