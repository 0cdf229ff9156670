import http.server
import json
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler

from fnoise_mmdet.config import innermost_datasets, is_coco, load_config, use_data_root
from fnoise_mmdet.datasets.shapes import CLASSES
from fnoise_mmdet.engine.preflight import (
    check_all,
    check_checkpoint,
    check_data,
    check_device,
    check_device_option,
    check_heads,
    check_loops,
    check_model,
    check_pretrained,
    check_room,
    check_training,
    check_work_dir,
    describe_training,
    warn_of_learning_rate,
    warn_of_no_validation,
)
from fnoise_mmdet.errors import InputError


@pytest.fixture
def data(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / 'data')


@pytest.fixture
def cfg(root, data, tmp_path):
    cfg = load_config(str(root / 'configs/demo_fnoise.py'))
    use_data_root(cfg, str(data), required=('train', 'val'))
    cfg.work_dir = str(tmp_path / 'run')
    return cfg


def test_good_config_passes_and_nothing_is_written(cfg, tmp_path):
    check_training(cfg)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


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


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        ('optim_wrapper.optimizer.type', 'Nope', 'optim_wrapper cannot be used: '),
        ('optim_wrapper.optimizer.lr', -1, 'optim_wrapper cannot be used: ValueError: .*Invalid learning rate: -1'),
        ('optim_wrapper.optimizer.lr', 'abc', 'optim_wrapper cannot be used: '),
        ('optim_wrapper', dict(type='OptimWrapper'), 'optim_wrapper cannot be used: .*no optimizer'),
        ('optim_wrapper', 'abc', "optim_wrapper must be a dict, but is 'abc'"),
        ('param_scheduler.0.type', 'Nope', 'param_scheduler Nope: '),
        ('train_dataloader.dataset.pipeline.2.type', 'Nope', 'train_dataloader.dataset, step 2 of the pipeline '),
        ('train_dataloader.sampler.type', 'Nope', 'train_dataloader.sampler cannot be used: .*Nope is not in'),
        ('train_dataloader.batch_size', 0, 'train_dataloader.batch_size must be >= 1, but is 0'),
        ('train_dataloader.batch_size', 'abc', "train_dataloader.batch_size must be an integer, but is 'abc'"),
        ('train_dataloader.dataset', None, 'a data set of the config must be a dict, but is None'),
        (
            'train_dataloader.dataset',
            dict(type='ConcatDataset', datasets=[]),
            'ConcatDataset of the config has no data sets',
        ),
        ('val_evaluator.metric', 'foo', 'val_evaluator cannot be used: .*foo'),
        ('val_evaluator', None, 'val_evaluator is missing: set all of val_dataloader, val_cfg, val_evaluator'),
        ('randomness.seed', 'abc', "randomness.seed must be an integer from 0 to .*, but is 'abc'"),
        ('train_cfg.val_interval', 'abc', "train_cfg.val_interval must be an integer, but is 'abc'"),
        ('train_cfg.max_epochs', 0, 'train_cfg.max_epochs must be >= 1, but is 0'),
        ('train_cfg.max_epochs', -3, 'train_cfg.max_epochs must be >= 1, but is -3'),
        ('train_cfg.max_epochs', 'abc', "train_cfg.max_epochs must be an integer, but is 'abc'"),
        ('train_cfg', 'abc', "train_cfg must be a dict, but is 'abc'"),
        ('default_hooks.logger.type', 'Nope', 'default_hooks.logger cannot be used: .*Nope'),
        ('default_hooks.checkpoint', 'abc', 'default_hooks.checkpoint cannot be used: '),
    ],
)
def test_settings_that_cannot_be_used_are_named_before_the_training(cfg, tmp_path, place, value, message):
    *path, name = place.split('.')
    node = cfg
    for part in path:
        node = node[int(part)] if part.isdecimal() else node[part]
    node[name] = value
    with pytest.raises(InputError, match=message):
        check_training(cfg)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


@pytest.mark.parametrize('device', ['foo', 'cuda:99', 'meta:abc'])
def test_a_device_that_torch_does_not_have_is_named(device):
    check_device_option(None)
    check_device_option('cpu')
    with pytest.raises(InputError, match=f'--device {device} cannot be used: '):
        check_device_option(device)


def test_a_check_that_fails_in_another_way_is_a_finding():
    def check():
        raise AttributeError('no get')

    with pytest.raises(InputError, match='the config cannot be checked: AttributeError: no get'):
        check_all([check])


@pytest.fixture
def server(tmp_path):
    """A server on this machine that has one file."""
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), tmp_path / 'weights.pth')
    (tmp_path / 'hostile.pth').write_bytes(b'weights')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's download cache."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub/checkpoints'


def check_init_cfg(cfg, checkpoint):
    """Check a checkpoint as that of the backbone of a small model."""
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    check_pretrained(cfg, torch.nn.Conv2d(3, 8, 7))


@pytest.mark.parametrize(('depth', 'share'), [(50, 41), (101, None)])
def test_weights_of_another_backbone_are_refused(tmp_path, depth, share):
    """A ResNet-101 may start from the weights of a ResNet-50, but a ResNet-50 not from those of a ResNet-18."""
    path = str(tmp_path / 'weights.pth')
    torch.save(MODELS.build(dict(type='mmdet.ResNet', depth=18 if share else 50)).state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    cfg = Config(dict(model=dict(backbone=dict(type='mmdet.ResNet', depth=depth, init_cfg=init_cfg))))
    model = torch.nn.ModuleDict(dict(backbone=MODELS.build(cfg.model.backbone)))
    if share is None:
        check_pretrained(cfg, model)
        return
    with pytest.raises(InputError, match=f'is of another model: it has only {share} % .* of ResNet .*checkpoint=FILE'):
        check_pretrained(cfg, model)


def test_weights_that_can_be_downloaded_pass(cfg, server, cache):
    check_init_cfg(cfg, f'{server}/weights.pth')
    assert (cache / 'weights.pth').is_file()


def test_what_is_downloaded_and_cannot_be_used_does_not_stay(cfg, server, cache):
    with pytest.raises(InputError, match='hostile.pth cannot be read.*init_cfg.checkpoint=FILE'):
        check_init_cfg(cfg, f'{server}/hostile.pth')
    assert not list(cache.iterdir())


@pytest.mark.parametrize('name', ['http://127.0.0.1:1/w.pth', 'http://no-such-host.invalid/w.pth'])
def test_missing_network_is_reported_in_seconds_with_remedies(cfg, cache, name):
    start = time.monotonic()
    with pytest.raises(InputError, match=r'cannot be downloaded .*init_cfg.checkpoint=FILE.*--from-scratch'):
        check_init_cfg(cfg, name)
    assert time.monotonic() - start < 15


def test_missing_page_is_reported(cfg, server, cache):
    with pytest.raises(InputError, match='other.pth cannot be downloaded'):
        check_init_cfg(cfg, f'{server}/other.pth')


def test_cached_weights_need_no_network(cfg, cache):
    cache.mkdir(parents=True)
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), cache / 'w.pth')
    check_init_cfg(cfg, 'http://127.0.0.1:1/w.pth')


def test_local_weights(cfg, tmp_path):
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), tmp_path / 'w.pth')
    check_init_cfg(cfg, str(tmp_path / 'w.pth'))
    torch.save(dict(weight=torch.rand(1)), tmp_path / 'w.pth')
    with pytest.raises(InputError, match='w.pth fits no part of the model'):
        check_init_cfg(cfg, str(tmp_path / 'w.pth'))
    with pytest.raises(InputError, match='nowhere.pth is not a file'):
        check_init_cfg(cfg, 'nowhere.pth')


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('nowhere.pth', 'nowhere.pth is not a file'),
        ('empty.pth', 'empty.pth cannot be read: it is empty'),
        ('other.pth', 'other.pth does not fit the config'),
        ('http://127.0.0.1:1/w.pth', 'w.pth cannot be downloaded'),
    ],
)
def test_load_from_is_checked_with_all_else(cfg, tmp_path, cache, monkeypatch, resume, path, message):
    monkeypatch.chdir(tmp_path)
    Path('empty.pth').touch()
    torch.save(dict(state_dict=dict(other=torch.rand(1))), 'other.pth')
    cfg.load_from, cfg.resume = path, resume
    cfg.merge_from_dict({'custom_hooks.1.interval': 0})
    with pytest.raises(InputError, match=message) as raised:
        check_training(cfg)
    assert 'interval must be >= 1' in str(raised.value)
    assert {one.name for one in tmp_path.iterdir()} <= {'data', 'empty.pth', 'other.pth', 'hub'}


def test_requirements_of_mixed_precision_are_reported(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.computes_in_bfloat16', lambda: False)
    check_device(cfg)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(InputError, match='mixed precision by AmpOptimWrapper needs a GPU'):
        check_device(cfg)
    cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    with pytest.raises(InputError, match='needs a GPU, or a CPU with bfloat16 arithmetic'):
        check_device(cfg)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.computes_in_bfloat16', lambda: True)
    check_device(cfg)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    check_device(cfg)


def test_run_is_not_overwritten_but_resumed(cfg, tmp_path):
    (tmp_path / 'run').mkdir()
    check_work_dir(cfg)
    (tmp_path / 'run/epoch_1.pth').write_bytes(b'weights')
    with pytest.raises(InputError, match='already holds the checkpoints of a run: continue it with --resume'):
        check_work_dir(cfg)
    cfg.resume = True
    check_work_dir(cfg)


def test_unsupported_resume_is_reported(cfg, monkeypatch):
    cfg.resume = True
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.mmengine.__version__', '0.10.7')
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.torch.__version__', '2.6.0')
    with pytest.raises(InputError, match=r'mmengine 0.10.7 cannot resume with torch 2.6.0'):
        check_work_dir(cfg)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.torch.__version__', '2.5.1')
    check_work_dir(cfg)


def test_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, meta=dict(dataset_meta=dict(classes=('cat', 'dog')))), path)
    assert check_checkpoint(str(path), ('cat', 'dog'))['dataset_meta']
    with pytest.raises(InputError, match=r'trained on 2 classes \(cat, dog...\), but the data has 1 \(cat...\)'):
        check_checkpoint(str(path), ('cat',))
    with pytest.raises(InputError, match=r'in another order, .*: \(cat, dog\), but the data has \(dog, cat\)'):
        check_checkpoint(str(path), ('dog', 'cat'))
    with pytest.raises(InputError, match='nowhere.pth is not a file'):
        check_checkpoint('nowhere.pth')
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match='a.pth cannot be read'):
        check_checkpoint(str(path))
    path.write_text(json.dumps([]))
    with pytest.raises(InputError, match='a.pth cannot be read'):
        check_checkpoint(str(path))


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


def test_all_findings_are_reported_at_once(cfg, data):
    (data / 'train/000007.png').unlink()
    cfg.merge_from_dict({'model.neck.noise.preset': 'cctt', 'custom_hooks.1.interval': 0})
    cfg.val_evaluator.ann_file = 'nowhere.json'
    with pytest.raises(InputError) as raised:
        check_training(cfg)
    first, *findings = str(raised.value).splitlines()
    assert first == 'several problems were found' and len(findings) == 3
    for finding, part in zip(findings, ['1 of 16 images are missing', 'nowhere.json', "but got 'cctt'"]):
        assert finding.startswith('- ') and part in finding


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


def test_unwritable_work_dir_is_reported(cfg, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    cfg.work_dir = str(tmp_path / 'file')
    with pytest.raises(InputError, match='file is a file: use a folder'):
        check_work_dir(cfg)
    cfg.work_dir = str(tmp_path / 'file/run')
    with pytest.raises(InputError, match='run cannot be written to'):
        check_work_dir(cfg)
    cfg.work_dir = str(tmp_path / 'run')
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(InputError, match='run cannot be written to'):
        check_work_dir(cfg)


def test_insufficient_disk_space_for_checkpoints_is_reported(cfg, monkeypatch):
    model = check_model(cfg)
    check_room(cfg, model)
    weights = sum(parameter.numel() for parameter in model.parameters()) * 4
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=5.9 * weights))  # AdamW: 3 times 2
    with pytest.raises(InputError, match=r'2 checkpoints need \d+ MiB'):
        check_room(cfg, model)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=6.1 * weights))
    check_room(cfg, model)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=3.1 * weights))
    with pytest.raises(InputError, match='2 checkpoints need'):
        check_room(cfg, model)
    Path(cfg.work_dir).mkdir()
    Path(cfg.work_dir, 'epoch_1.pth').touch()
    check_room(cfg, model)  # of a training that goes on, one is there


@pytest.mark.parametrize(
    ('batch', 'enable', 'warns'), [(4, False, False), (2, False, False), (1, False, True), (1, True, False)]
)
def test_a_learning_rate_of_another_batch_size_is_warned_of(cfg, capsys, batch, enable, warns):
    cfg.merge_from_dict({'train_dataloader.batch_size': batch, 'auto_scale_lr.enable': bool(enable)})
    warn_of_learning_rate(cfg)
    text = capsys.readouterr().out
    assert ('meant for a batch size of 4, but it is 1' in text and 'lr=0.0005' in text) == warns


def test_the_batch_of_a_learning_rate_is_that_of_all_processes(cfg, capsys, monkeypatch):
    cfg.merge_from_dict({'train_dataloader.batch_size': 1, 'launcher': 'slurm'})
    monkeypatch.setenv('SLURM_NTASKS', '4')
    warn_of_learning_rate(cfg)
    assert not capsys.readouterr().out


def test_a_head_with_too_few_classes_is_named(cfg):
    check_heads(cfg)
    cfg.model.roi_head.mask_head.num_classes = 4
    with pytest.raises(InputError, match='FCNMaskHead of the model has num_classes=4, but the data have 5 classes'):
        check_heads(cfg)


def test_what_would_run_is_described(cfg):
    text = describe_training(cfg)
    for part in (
        'MaskRCNN, ',
        'scale=0.3',
        'on levels all, pre',
        '16 images',
        'max_epochs 4',
        'AdamW, learning rate 0.002',
    ):
        assert part in text


@pytest.mark.parametrize('part', ['train', 'val'])
@pytest.mark.parametrize(
    'sampler', ['InfiniteSampler', InfiniteSampler, 'MultiSourceSampler', 'GroupMultiSourceSampler']
)
def test_a_loop_that_cannot_end_is_refused(cfg, part, sampler):
    cfg[f'{part}_dataloader'].sampler = dict(type=sampler)
    with pytest.raises(InputError, match=rf'would never end: {part}_dataloader.sampler is \w+Sampler'):
        check_loops(cfg)
    if part == 'train':
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10)
        check_loops(cfg)


def test_a_validation_interval_of_none_is_refused(cfg):
    cfg.train_cfg.val_interval = 0
    with pytest.raises(InputError, match='train_cfg.val_interval must be >= 1, but is 0'):
        check_loops(cfg)


def test_a_training_that_never_validates_is_warned_of(cfg, capsys):
    cfg.train_cfg.update(val_interval=1000)
    warn_of_no_validation(cfg)
    assert not capsys.readouterr().out, 'the last epoch is always validated'
    cfg.train_cfg.update(val_begin=9, max_epochs=4)
    warn_of_no_validation(cfg)
    assert 'never validates: it ends after 4 epochs, before train_cfg.val_begin=9' in capsys.readouterr().out
    cfg.val_dataloader = None
    warn_of_no_validation(cfg)
    assert 'never validates: the config has no val_dataloader' in capsys.readouterr().out


def test_accumulated_gradients_count_in_the_learning_rate(cfg, capsys):
    cfg.auto_scale_lr = dict(base_batch_size=32)
    cfg.train_dataloader.batch_size = 4
    cfg.optim_wrapper.accumulative_counts = 8
    warn_of_learning_rate(cfg)
    assert not capsys.readouterr().out
    cfg.optim_wrapper.accumulative_counts = 1
    warn_of_learning_rate(cfg)
    assert 'is meant for a batch size of 32, but it is 4' in capsys.readouterr().out


def test_heads_of_a_detector_within_are_checked():
    cfg = load_config('mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py')
    check_heads(cfg)
    cfg.model.detector.roi_head.bbox_head.num_classes = 3
    with pytest.raises(InputError, match='Shared2FCBBoxHead of the model has num_classes=3, but the data have 80'):
        check_heads(cfg)
