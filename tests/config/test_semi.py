import copy
import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config

from fnoise_mmdet import add_fnoise, make_semi
from fnoise_mmdet.config import nested_dicts, noise_settings, use_data_root
from fnoise_mmdet.config.semi import META_KEYS, count_iterations
from fnoise_mmdet.datasets import read_coco
from fnoise_mmdet.datasets.sample import subset
from fnoise_mmdet.errors import InputError


@pytest.fixture
def split(shapes, tmp_path):
    """A data set with 4 labelled training images, and a file with 12 others."""
    root = tmp_path / 'split'
    (root / 'annotations').mkdir(parents=True)
    for part in ('train', 'val'):
        (root / part).symlink_to(shapes / part)
        coco = read_coco(shapes / f'annotations/instances_{part}.json')
        labelled = subset(coco, [image['id'] for image in coco['images'][:4]])
        (root / f'annotations/instances_{part}.json').write_text(json.dumps(labelled))
        unlabelled = dict(images=coco['images'][4:], categories=coco['categories'])
        (root / f'annotations/unlabelled_{part}.json').write_text(json.dumps(unlabelled))
    return root


@pytest.fixture
def load(root, split):
    def read(name='demo_fnoise.py', **options):
        cfg = Config.fromfile(root / 'configs' / name)
        use_data_root(cfg, str(split), required=('train', 'val'))
        cfg.merge_from_dict(options)
        return cfg

    return read


@pytest.fixture
def unlabelled(split):
    return str(split / 'annotations/unlabelled_train.json')


def test_model_data_and_teacher(load, unlabelled, split):
    plain, cfg = load(), make_semi(load(), unlabelled, views=2, antithetic=True)
    assert cfg.model.type == 'FNoiseTeacher' and cfg.model.detector == plain.model
    assert cfg.model.semi_train_cfg == dict(views=2, antithetic=True)
    loader = cfg.train_dataloader
    assert loader.batch_size == 2 * plain.train_dataloader.batch_size == loader.sampler.batch_size
    labelled, others = loader.dataset.datasets
    assert labelled.ann_file == 'annotations/instances_train.json' and others.ann_file == unlabelled
    assert others.data_prefix.img == f'{split}/train/' and not others.filter_cfg.filter_empty_gt
    steps = [step['type'] for step in plain.train_dataloader.dataset.pipeline]
    assert [step['type'] for step in labelled.pipeline] == [*steps[:-1], 'MultiBranch']
    branch = others.pipeline[-1]['unsup_teacher']
    assert [step['type'] for step in branch] == [name for name in steps[1:] if 'Annotations' not in name]
    assert 'homography_matrix' in branch[-1]['meta_keys']
    teacher, metrics = cfg.custom_hooks[-2:]
    assert teacher.type == 'MeanTeacherHook' and not teacher.skip_buffer
    assert metrics.type == 'MeanTeacherMetricsHook'
    assert cfg.val_dataloader == plain.val_dataloader


def test_strong_view(load, unlabelled):
    plain, cfg = make_semi(load(), unlabelled), make_semi(load(), unlabelled, strong_view=True)
    for made, branches in ((plain, {'sup', 'unsup_teacher'}), (cfg, {'sup', 'unsup_teacher', 'unsup_student'})):
        steps = [dataset.pipeline[-1] for dataset in made.train_dataloader.dataset.datasets]
        assert all(set(step['branch_field']) == branches for step in steps)
        assert {name for step in steps for name in step if name in branches} == branches, 'each branch has images'
    weak, strong = (
        cfg.train_dataloader.dataset.datasets[1].pipeline[-1][f'unsup_{name}'] for name in ('teacher', 'student')
    )
    assert weak == plain.train_dataloader.dataset.datasets[1].pipeline[-1].unsup_teacher
    assert [step['type'] for step in strong[len(weak) - 1 :]] == ['RandomOrder', 'RandomErasing', 'PackDetInputs']
    assert strong[: len(weak) - 1] == weak[:-1] and strong[-1] == weak[-1]


@pytest.mark.parametrize('indices', [3, [0, 2, 3], 100])
def test_only_the_chosen_images_are_counted(load, unlabelled, indices):
    cfg = make_semi(load(**{'train_dataloader.dataset.indices': indices, 'train_dataloader.batch_size': 1}), unlabelled)
    epochs = load().train_cfg.max_epochs
    assert cfg.train_cfg.max_iters == epochs * (4 if indices == 100 else 3)
    assert 'indices' not in cfg.train_dataloader.dataset.datasets[1]


@pytest.mark.parametrize(('processes', 'iterations'), [(1, 4), (2, 2), (3, 2)])
def test_processes_share_an_epoch(load, unlabelled, processes, iterations):
    cfg = make_semi(load(**{'train_dataloader.batch_size': 1}), unlabelled, processes=processes)
    assert cfg.train_cfg.max_iters == load().train_cfg.max_epochs * iterations


@pytest.mark.parametrize('noise', ['cct', 'DSU'])
def test_noise_before_or_after_the_switch(load, unlabelled, noise):
    plain, noisy = load('demo_baseline.py'), add_fnoise(load('demo_baseline.py'), **noise_settings(noise))
    assert make_semi(noisy, unlabelled).model == add_fnoise(make_semi(plain, unlabelled), **noise_settings(noise)).model


def test_the_config_with_noise_is_that_of_the_switch(load, unlabelled):
    plain = make_semi(load('demo_baseline.py'), unlabelled)
    assert plain.model.detector.neck.type == 'FPN'
    after = add_fnoise(plain, dict(type='FeatureNoise', preset='cct'))
    assert after.model == make_semi(load('demo_fnoise.py'), unlabelled).model


def test_length_is_kept_in_iterations(load):
    cfg = load(**{'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 2, 'train_cfg.val_begin': 2})
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=7),
        dict(type='MultiStepLR', by_epoch=True, begin=0, end=3, milestones=[1, 2], gamma=0.1),
        dict(type='CosineAnnealingLR', begin=1, end=3, T_max=2, by_epoch=True, convert_to_iter_based=True),
    ]
    cfg.default_hooks.checkpoint.interval = 2
    count_iterations(cfg, 10)
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=30, val_interval=20, val_begin=11)
    warm_up, steps, cosine = cfg.param_scheduler
    assert warm_up.end == 7
    assert steps == dict(type='MultiStepLR', by_epoch=False, begin=0, end=30, milestones=[10, 20], gamma=0.1)
    assert cosine == dict(type='CosineAnnealingLR', begin=10, end=30, T_max=20, by_epoch=False)
    assert cfg.default_hooks.checkpoint.interval == 20 and not cfg.default_hooks.checkpoint.by_epoch
    assert not cfg.log_processor.by_epoch
    before = copy.deepcopy(cfg.to_dict())
    count_iterations(cfg, 10)
    assert cfg.to_dict() == before, 'it counts iterations already'


def test_noise_schedule_is_counted_in_iterations(load):
    cfg = load(**{'train_cfg.max_epochs': 3})
    cfg.custom_hooks = [
        dict(type='NoiseScheduleHook', schedule='linear', by_epoch=True, begin=1, end=2),
        dict(type='NoiseScheduleHook', schedule='step', by_epoch=True, milestones=[1, 2]),
        dict(type='NoiseScheduleHook', schedule='linear', end=7),
    ]
    count_iterations(cfg, 10)
    assert cfg.custom_hooks == [
        dict(type='NoiseScheduleHook', schedule='linear', by_epoch=False, begin=10, end=20),
        dict(type='NoiseScheduleHook', schedule='step', by_epoch=False, milestones=[10, 20]),
        dict(type='NoiseScheduleHook', schedule='linear', end=7),
    ]


def test_images_of_another_folder_may_have_the_same_names(load, split):
    same_names = str(split / 'annotations/instances_train.json')
    _, others = make_semi(load(), same_names, image_folder='elsewhere').train_dataloader.dataset.datasets
    assert others.data_prefix.img == 'elsewhere/'


def test_without_annotations_an_unlabelled_file_may_have_other_categories(load, unlabelled):
    coco = read_coco(Path(unlabelled), annotated=False)
    Path(unlabelled).write_text(json.dumps(coco | dict(annotations=[], categories=[dict(id=1, name='cat')])))
    assert make_semi(load(), unlabelled).model.type == 'FNoiseTeacher'


def test_what_cannot_be_trained_with_a_teacher_is_named(load, unlabelled, split, tmp_path):
    with pytest.raises(InputError, match='cannot be trained with a teacher: its model is FNoiseTeacher'):
        make_semi(make_semi(load(), unlabelled), unlabelled)
    with pytest.raises(InputError, match='annotation file .*nowhere.json not found'):
        make_semi(load(), str(tmp_path / 'nowhere.json'))
    leak = f'4 images of .* are labelled in {split}/annotations/instances_train.json, e.g. 000001.png'
    with pytest.raises(InputError, match=leak):
        make_semi(load(), str(split / 'annotations/instances_train.json'))
    (tmp_path / 'none.json').write_text('{"images": [], "categories": []}')
    with pytest.raises(InputError, match='none.json has no images'):
        make_semi(load(), str(tmp_path / 'none.json'))
    coco = read_coco(split / 'annotations/instances_val.json')
    (tmp_path / 'cats.json').write_text(json.dumps(coco | dict(categories=[dict(id=1, name='cat')])))
    with pytest.raises(InputError, match='cats.json has the category cat, which .*instances_train.json does not have'):
        make_semi(load(), str(tmp_path / 'cats.json'))
    cfg = load()
    cfg.train_dataloader.dataset.pipeline.append(dict(type='Pad'))
    with pytest.raises(InputError, match='must end with PackDetInputs, not Pad'):
        make_semi(cfg, unlabelled)
    cfg = load()
    dataset = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='MultiImageMixDataset', dataset=dataset, pipeline=[dict(type='Mosaic')])
    with pytest.raises(InputError, match='MultiImageMixDataset mixes several images'):
        make_semi(cfg, unlabelled)
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[dataset, dataset])
    with pytest.raises(InputError, match='its training data must be one data set in COCO format'):
        make_semi(cfg, unlabelled)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(image_folder=3), 'image_folder must be a path, but is 3'),
        (dict(strong_view='abc'), "strong_view must be True or False, but is 'abc'"),
    ],
)
def test_settings_of_another_type_are_refused(load, unlabelled, settings, message):
    with pytest.raises(InputError, match=message):
        make_semi(load(), unlabelled, **settings)


def test_data_without_a_pipeline_are_refused(load, unlabelled):
    cfg = load()
    cfg.train_dataloader.dataset.pipeline = None
    with pytest.raises(InputError, match='its training data have no pipeline'):
        make_semi(cfg, unlabelled)


def test_intervals_of_validation_are_kept_and_hooks_that_count_epochs_are_named(load, capsys):
    cfg = load()
    cfg.train_cfg.dynamic_intervals = [(3, 1)]
    cfg.train_cfg.val_interval = 2
    cfg.custom_hooks.append(dict(type='PipelineSwitchHook', switch_epoch=3, switch_pipeline=[]))
    count_iterations(cfg, 10)
    assert cfg.train_cfg.val_interval == 20 and cfg.train_cfg.dynamic_intervals == [(21, 10)]
    assert 'warning: PipelineSwitchHook has switch_epoch=3, which has no effect' in capsys.readouterr().out


def steps_named(pipeline, name):
    return [step for step in nested_dicts(pipeline) if step.get('type') == name]


def test_unlabelled_images_are_not_dropped_as_empty(load, unlabelled):
    """mmdet's crops drop an image without objects, and mmdet would look for another one for ever."""
    cfg = load('demo_baseline.py')
    pipeline = cfg.train_dataloader.dataset.pipeline
    crop = dict(type='RandomCrop', crop_size=(64, 64))
    pipeline.insert(-1, dict(type='RandomApply', transforms=[crop], prob=1.0))
    make_semi(cfg, unlabelled, strong_view=True)
    labelled, others = cfg.train_dataloader.dataset.datasets
    assert steps_named(labelled.pipeline, 'RandomCrop') == [crop]
    assert steps_named(others.pipeline, 'RandomCrop') == [crop | dict(allow_negative_crop=True)] * 2
    dataset = DATASETS.build(others)
    dataset.max_refetch = 1
    sample = dataset[0]['data_samples']['unsup_student']
    assert sample.img_shape == (64, 64) and len(sample.gt_instances) == 0
    assert sample.gt_instances.masks.masks.shape == (0, 64, 64), 'heads and batch augmentations find masks, none'


def test_meta_keys_of_the_config_are_those_of_unlabelled_images_too(load, unlabelled):
    cfg = load()
    cfg.train_dataloader.dataset.pipeline[-1].meta_keys = ('img_id', 'text')
    make_semi(cfg, unlabelled)
    _, others = cfg.train_dataloader.dataset.datasets
    assert others.pipeline[-1].unsup_teacher[-1].meta_keys == (*META_KEYS, 'text')


def test_repeated_images_are_counted(load, unlabelled):
    plain, cfg = load(), load()
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=5, dataset=plain.train_dataloader.dataset)
    once = make_semi(plain, unlabelled).train_cfg.max_iters
    assert make_semi(cfg, unlabelled).train_cfg.max_iters == 5 * once
    assert cfg.train_dataloader.dataset.datasets[0].type == 'CocoDataset'


def test_the_batch_of_the_learning_rate_is_twice_as_large(load, unlabelled):
    cfg = load(auto_scale_lr=dict(enable=False, base_batch_size=8))
    assert make_semi(cfg, unlabelled).auto_scale_lr.base_batch_size == 16


def test_schedules_and_hooks_in_epochs_are_converted(load, capsys):
    cfg = load(**{'train_cfg.max_epochs': 6})
    cfg.param_scheduler = [
        dict(type='ExponentialLR', by_epoch=True, gamma=0.9),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=6),
        dict(type='CosineRestartLR', periods=[2, 4], restart_weights=[1, 0.5], eta_min=0),
        dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP'),
    ]
    cfg.custom_hooks = [dict(type='EMAHook', begin_epoch=5)]
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=2, save_begin=3)
    count_iterations(cfg, 10)
    exponential, cycle, cosine, plateau = cfg.param_scheduler
    assert exponential.gamma**10 == pytest.approx(0.9) and cycle.total_steps == 60 and cosine.periods == [20, 40]
    assert 'by_epoch' not in plateau, 'which counts validations'
    assert cfg.custom_hooks == [dict(type='EMAHook', begin_iter=50)]
    assert capsys.readouterr().out == ''
    assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', interval=20, save_begin=30, by_epoch=False)


def test_no_checkpoints_stay_none(load):
    cfg = load()
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_best='auto')
    count_iterations(cfg, 10)
    assert cfg.default_hooks.checkpoint.interval == -1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg': dict(type='IterBasedTrainLoop')}, 'its train_cfg has neither max_epochs nor max_iters'),
        ({'train_dataloader.dataset.pipeline.1.with_seg': True}, 'it learns from semantic maps, too'),
        ({'train_dataloader.dataset.data_root': 's3://bucket/'}, 'its annotations must be on a local disk'),
    ],
)
def test_trainings_that_a_teacher_cannot_have_are_named(load, unlabelled, options, message):
    cfg = load()
    cfg.merge_from_dict(options)
    if 'train_cfg' in options:
        cfg.train_cfg = options['train_cfg']
    with pytest.raises(InputError, match=message):
        make_semi(cfg, unlabelled)


def test_a_strong_view_needs_recorded_steps(load, unlabelled):
    cfg = load()
    cfg.train_dataloader.dataset.pipeline.insert(-1, dict(type='Expand'))
    with pytest.raises(InputError, match='Expand of its pipeline does not record where it moves objects'):
        make_semi(copy.deepcopy(cfg), unlabelled, strong_view=True)
    make_semi(cfg, unlabelled)


def test_a_file_without_labelled_objects_is_named(load, unlabelled, split):
    file = split / 'annotations/instances_train.json'
    file.write_text(json.dumps(read_coco(file) | dict(annotations=[])))
    with pytest.raises(InputError, match='instances_train.json has no labelled object'):
        make_semi(load(), unlabelled)


def test_images_balanced_by_class_are_refused(load, unlabelled):
    cfg = load()
    dataset = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=dataset)
    with pytest.raises(InputError, match='ClassBalancedDataset repeats labelled images'):
        make_semi(cfg, unlabelled)


def test_a_folder_by_another_path_is_the_same(load, split, monkeypatch):
    """A path relative to the current folder is that of the config's images."""
    monkeypatch.chdir(split)
    labelled = str(split / 'annotations/instances_train.json')
    with pytest.raises(InputError, match='4 images of .* are labelled'):
        make_semi(load(), labelled, image_folder='train')


def test_images_are_counted_and_compared_by_the_classes_of_the_config(load, split, unlabelled):
    """Images without an object of these classes are not labelled, as mmdet drops them."""
    file = split / 'annotations/instances_train.json'
    coco = read_coco(file)
    name = coco['categories'][0]['name']
    shown = {one['image_id'] for one in coco['annotations'] if one['category_id'] == coco['categories'][0]['id']}
    shown &= {image['id'] for image in coco['images']}
    assert 0 < len(shown) < 4
    dropped = [image for image in coco['images'] if image['id'] not in shown]
    options = {
        'train_dataloader.dataset.metainfo': dict(classes=(name,)),
        'train_dataloader.dataset.filter_cfg': dict(filter_empty_gt=True),
        'train_dataloader.batch_size': 1,
    }
    Path(unlabelled).write_text(json.dumps(dict(images=dropped, categories=coco['categories'])))
    cfg = load(**options)
    assert make_semi(load(**options), unlabelled).train_cfg.max_iters == len(shown) * cfg.train_cfg.max_epochs
    with pytest.raises(InputError, match=f'{len(dropped)} images of .* are labelled'):
        make_semi(load(), unlabelled)
    coco['annotations'] = [one for one in coco['annotations'] if one['image_id'] not in shown]
    file.write_text(json.dumps(coco))
    with pytest.raises(InputError, match="no labelled object of the config's classes"):
        make_semi(load(**options), unlabelled)


def test_faulty_annotations_are_named(load, split, unlabelled):
    file = split / 'annotations/instances_train.json'
    coco = read_coco(file)
    coco['images'][0]['width'] = None
    file.write_text(json.dumps(coco))
    with pytest.raises(InputError, match='instances_train.json is invalid'):
        make_semi(load(**{'train_dataloader.dataset.filter_cfg': dict(min_size=32)}), unlabelled)


def test_validation_images_among_the_unlabelled_are_named(load, split, unlabelled, capsys):
    make_semi(load(), unlabelled)
    assert 'validation images' not in capsys.readouterr().out
    make_semi(load(), str(split / 'annotations/instances_val.json'), image_folder=str(split / 'val'))
    assert '4 images of ' in (warning := capsys.readouterr().out) and 'are also validation images' in warning


def test_noise_on_a_stream_that_the_data_lack_is_refused(load, unlabelled):
    with pytest.raises(InputError, match='add strong_view=True'):
        make_semi(load(), unlabelled, noise_on=['unsup_student'])
    make_semi(load(), unlabelled, noise_on=['unsup_student'], strong_view=True)


def test_learning_rates_by_layer_are_refused(load, unlabelled):
    with pytest.raises(InputError, match='LearningRateDecayOptimizerConstructor .* remove optim_wrapper.constructor'):
        make_semi(load(**{'optim_wrapper.constructor': 'LearningRateDecayOptimizerConstructor'}), unlabelled)


def test_an_assigner_of_the_first_epochs_is_named(load, unlabelled, capsys):
    make_semi(load(**{'model.train_cfg.initial_epoch': 4}), unlabelled)
    assert 'train_cfg.initial_epoch' in capsys.readouterr().out
