"""Convert the config of a supervised training to consistency training with a teacher."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.models import SemiBaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config

from ..datasets import class_names, count_objects, read_coco
from ..datasets.labels import kept_images
from ..datasets.sample import read_faultless
from ..errors import InputError
from .config import (
    annotation_file,
    check_has,
    config_classes,
    find_detector,
    import_package,
    innermost_datasets,
    is_coco,
    is_local,
    nested_dicts,
)
from .types import type_class, type_name

META_KEYS = (
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'homography_matrix',
)  # fmt: skip
HORIZON = 0.1  # fraction of the training over which the teacher averages
# The strong augmentation of mmdet's semi-supervised detectors, after that of the training.
COLOUR = [
    [dict(type=name)]
    for name in (
        'ColorTransform', 'AutoContrast', 'Equalize', 'Sharpness', 'Posterize', 'Solarize', 'Color', 'Contrast',
        'Brightness',
    )
]  # fmt: skip
GEOMETRY = [[dict(type=name)] for name in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')]
STRONG = [
    dict(
        type='RandomOrder',
        transforms=[dict(type='RandAugment', aug_space=space, aug_num=1) for space in (COLOUR, GEOMETRY)],
    ),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
]
# Steps of mmdet that move an image's contents without recording how.
UNRECORDED = {
    'CachedMixUp', 'CachedMosaic', 'CopyPaste', 'Expand', 'MinIoURandomCrop', 'MixUp', 'Mosaic', 'RandomCenterCropPad',
    'RandomShift',
}  # fmt: skip
# Optimizer constructors of mmdet that set the learning rate by the layer of the backbone.
LAYER_DECAY = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
# Steps of mmdet that drop an image without objects unless told otherwise.
KEEP_EMPTY = dict(RandomCrop=dict(allow_negative_crop=True), Albu=dict(skip_img_without_anno=False))


def is_semi(cfg: Config) -> bool:
    """Return whether a training is semi-supervised, so that its first data set is the labelled one."""
    cls = type_class(cfg.model, MODELS)
    return isinstance(cls, type) and issubclass(cls, SemiBaseDetector)


def make_semi(
    cfg: Config,
    unlabelled: str,
    *,
    image_folder: str | None = None,
    strong_view: bool = False,
    processes: int = 1,
    **settings: Any,
) -> Config:
    """Turn the config of a supervised training into one of :class:`~fnoise_mmdet.FNoiseTeacher`, in place.

    A batch gets as many unlabelled as labelled images, and the length of the
    training is kept in iterations. The unlabelled images go through the
    training pipeline without annotations. Validation evaluates the teacher.
    The noise is that of the config, see :func:`.add_fnoise`; without one it is a plain mean teacher.

    Args:
        cfg: Training config, with paths that exist (see :func:`.use_data_root`).
        unlabelled: Annotation file in COCO format, of which only the images are read.
        image_folder: Folder of the unlabelled images. Defaults to that of the labelled ones.
        strong_view: Whether the student also sees each unlabelled image
            strongly augmented, as in mmdet's ``SoftTeacher``. Defaults to False.
        processes: Number of processes that the images of an epoch are distributed to. Defaults to 1.
        **settings: ``semi_train_cfg`` of :class:`~fnoise_mmdet.FNoiseTeacher`.

    Returns:
        The same config.

    Raises:
        InputError: If a setting is of another type, the config is semi-supervised
            already, has no such training data set or pipeline, no length, or needs
            more than boxes and masks, ``strong_view`` has a step that does not record
            where it moves objects, or the file is not found, has no image,
            annotations of other categories, or images that are labelled too.
    """
    if not isinstance(image_folder, str | None):
        raise InputError(f'image_folder must be a path, but is {image_folder!r}')
    if not isinstance(strong_view, bool):
        raise InputError(f'strong_view must be True or False, but is {strong_view!r}')
    check_has(cfg, 'model', 'train_dataloader', 'train_cfg')
    cannot = f'{cfg.filename or "the config"} cannot be trained with a teacher'
    _, detector = find_detector(cfg)
    if is_semi(cfg) or type_name(cfg.model) not in (type_name(detector), 'FNoiseDetector'):
        raise InputError(f'{cannot}: its model is {type_name(cfg.model)}; use the config of a plain detector')
    if not (cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')):
        raise InputError(f'{cannot}: its train_cfg has neither max_epochs nor max_iters')
    constructor = (cfg.get('optim_wrapper') or {}).get('constructor')
    if constructor in LAYER_DECAY:
        raise InputError(
            f'{cannot}: {constructor} of its optim_wrapper reads the layers of model.backbone, and a teacher has two '
            'detectors; remove optim_wrapper.constructor and paramwise_cfg'
        )
    noise_on = settings.get('noise_on')
    if isinstance(noise_on, list | tuple) and 'unsup_student' in noise_on and not strong_view:
        raise InputError("noise_on has 'unsup_student', the stream of strongly augmented images: add strong_view=True")
    labelled = _labelled_dataset(cfg, cannot)
    if strong_view and (
        unrecorded := sorted({type_name(one) for one in nested_dicts(labelled['pipeline'])} & UNRECORDED)
    ):
        raise InputError(
            f'{cannot} and a strong view: {unrecorded[0]} of its pipeline does not record where it moves objects, so '
            'the labels of one view cannot be found in the other; remove it from the pipeline, or leave strong_view out'
        )
    count = _check_images(cfg, labelled, unlabelled, image_folder) * _repeats(cfg.train_dataloader.dataset)

    size = cfg.train_dataloader.batch_size
    # Only those that a batch has: mmdet's data preprocessor fails for a branch without images.
    branches = ['sup', 'unsup_teacher', *(['unsup_student'] if strong_view else [])]
    datasets = [
        labelled | dict(pipeline=_labelled_pipeline(labelled['pipeline'], branches, cannot)),
        _unlabelled_dataset(labelled, unlabelled, image_folder, branches),
    ]
    cfg.train_dataloader = {
        **cfg.train_dataloader,
        'batch_size': 2 * size,
        'batch_sampler': None,
        'sampler': dict(type='MultiSourceSampler', batch_size=2 * size, source_ratio=[1, 1]),
        'dataset': dict(type='ConcatDataset', datasets=datasets),
    }
    count_iterations(cfg, math.ceil(count / processes / size))
    cfg.model = dict(
        type='FNoiseTeacher',
        detector=cfg.model,
        data_preprocessor=dict(
            type='MultiBranchDataPreprocessor',
            data_preprocessor=copy.deepcopy(detector.get('data_preprocessor') or cfg.get('data_preprocessor')),
        ),
        semi_train_cfg=settings,
        semi_test_cfg=dict(predict_on='teacher'),
    )
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('base_batch_size'):  # as the batch is twice as large for as many labelled images
        scaling['base_batch_size'] *= 2
    momentum = min(0.5, max(0.001, 1 / (HORIZON * cfg.train_cfg.max_iters)))
    # With buffers: a teacher without the statistics of batch norm detects nothing.
    teacher = dict(type='MeanTeacherHook', momentum=momentum, skip_buffer=False)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), teacher, dict(type='MeanTeacherMetricsHook')]
    import_package(cfg)
    return cfg


def _labelled_dataset(cfg: Config, cannot: str) -> dict[str, Any]:
    datasets = list(innermost_datasets(cfg.train_dataloader.dataset))
    if len(datasets) > 1 or not is_coco(datasets[0]):
        raise InputError(f'{cannot}: its training data must be one data set in COCO format')
    if 'pipeline' in cfg.train_dataloader.dataset and 'dataset' in cfg.train_dataloader.dataset:
        raise InputError(
            f'{cannot}: {type_name(cfg.train_dataloader.dataset)} mixes several images, and its pipeline has no '
            'place for unlabelled ones; use a config without it'
        )
    if not datasets[0].get('pipeline'):
        raise InputError(f'{cannot}: its training data have no pipeline')
    if any(step.get('with_seg') for step in nested_dicts(datasets[0]['pipeline'])):
        raise InputError(
            f'{cannot}: it learns from semantic maps, too, which the teacher does not predict; use a config without '
            'a semantic branch'
        )
    if not is_local(datasets[0]):
        raise InputError(
            f'{cannot}: its annotations must be on a local disk, to be compared with the unlabelled images'
        )
    return copy.deepcopy(datasets[0])


def _repeats(dataset: dict[str, Any]) -> int:
    """Return how often an epoch has each image of the innermost data set."""
    times = 1
    while 'dataset' in dataset:
        if type_name(dataset) == 'ClassBalancedDataset':
            raise InputError(
                'ClassBalancedDataset repeats labelled images by their classes, which a training with unlabelled '
                'images does not: use a config without it'
            )
        times *= dataset.get('times', 1)
        dataset = dataset['dataset']
    return times


def _image_folder(dataset: dict[str, Any]) -> str:
    return str(Path(dataset.get('data_root') or '') / (dataset.get('data_prefix') or {}).get('img', ''))


def _check_images(cfg: Config, labelled: dict[str, Any], unlabelled: str, image_folder: str | None) -> int:
    """Check that no image is both labelled and unlabelled, and return the number of labelled images."""
    file = annotation_file(labelled)
    coco, others = read_faultless(file), read_coco(Path(unlabelled), annotated=False)
    if not others['images']:
        raise InputError(f'{unlabelled} has no images')
    if others['annotations'] and (unknown := set(class_names(others)) - set(class_names(coco))):
        raise InputError(
            f'{unlabelled} has the category {min(unknown)}, which {file} does not have: use images of the same data '
            'set, or remove the annotations, which are not used in training'
        )
    classes = config_classes(labelled)
    if not count_objects(coco, classes):
        raise InputError(
            f"{file} has no labelled object of the config's classes: a training with a teacher needs some labels"
        )
    kept, _, _ = kept_images(coco, classes, labelled.get('filter_cfg') or {})
    paths = _image_paths(others, image_folder or _image_folder(labelled))
    if leaked := sorted(paths & _image_paths(dict(images=kept), _image_folder(labelled))):
        raise InputError(
            f'{len(leaked)} images of {unlabelled} are labelled in {file}, e.g. {leaked[0].name}: '
            'remove them from one of the two'
        )
    _warn_of_evaluated_images(cfg, unlabelled, paths)
    indices = labelled.get('indices')
    if indices is None:
        return len(kept)
    chosen = range(len(kept))[:indices] if isinstance(indices, int) else indices  # as mmengine: the last ones if < 0
    return min(len(kept), len(chosen))


def _image_paths(coco: dict[str, Any], folder: str) -> set[Path]:
    resolved = Path(folder).resolve()
    return {resolved / str(image['file_name']) for image in coco['images']}


def _warn_of_evaluated_images(cfg: Config, unlabelled: str, paths: set[Path]) -> None:
    """Warn if the training sees images that the validation evaluates."""
    loader = cfg.get('val_dataloader')
    for dataset in innermost_datasets(loader.dataset) if loader else ():
        file = annotation_file(dataset)
        if not (is_coco(dataset) and is_local(dataset) and file.is_file()):
            continue
        if seen := paths & _image_paths(read_coco(file, annotated=False), _image_folder(dataset)):
            print(
                f'warning: {len(seen)} images of {unlabelled} are also validation images, e.g. {min(seen).name}: AP '
                'is that of images seen in training without their labels'
            )


def _labelled_pipeline(pipeline: Sequence[dict[str, Any]], branches: list[str], cannot: str) -> list[dict[str, Any]]:
    """Return the training pipeline, with its last step as the branch of labelled images."""
    *steps, pack = pipeline
    if type_name(pack) != 'PackDetInputs':
        raise InputError(f'{cannot}: its training pipeline must end with PackDetInputs, not {type_name(pack)}')
    return [*steps, dict(type='MultiBranch', branch_field=branches, sup=pack)]


def _unlabelled_dataset(
    labelled: dict[str, Any], unlabelled: str, image_folder: str | None, branches: list[str]
) -> dict[str, Any]:
    """Return the data set of unlabelled images, which go through the training pipeline without annotations."""
    load, *steps, labelled_pack = copy.deepcopy(labelled['pipeline'])
    with_mask = any(step.get('with_mask') for step in steps)
    steps = [step for step in steps if type_name(step) not in ('LoadAnnotations', 'FilterAnnotations')]
    for step in nested_dicts(steps):
        step.update(KEEP_EMPTY.get(type_name(step), {}))
    meta_keys = tuple(dict.fromkeys((*META_KEYS, *labelled_pack.get('meta_keys', ()))))
    pack = dict(type='PackDetInputs', meta_keys=meta_keys)
    views = dict(unsup_teacher=[*steps, pack])
    if 'unsup_student' in branches:
        views['unsup_student'] = [*steps, *STRONG, pack]
    pipeline = [
        load,
        dict(type='LoadEmptyAnnotations', with_mask=with_mask),
        dict(type='MultiBranch', branch_field=branches, **views),
    ]
    folder = image_folder or _image_folder(labelled)
    return {key: value for key, value in labelled.items() if key != 'indices'} | dict(
        data_root='',
        ann_file=unlabelled,
        data_prefix=dict(img=f'{folder}/'),
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=pipeline,
    )


def count_iterations(cfg: Config, epoch: int) -> None:
    """Count the training in iterations instead of epochs, in place.

    Hooks that count epochs by a setting of their own are named in a warning.

    Args:
        cfg: Training config.
        epoch: Iterations of an epoch.
    """
    loop = cfg.train_cfg
    if not loop.get('max_epochs'):
        return
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop',
        max_iters=loop.max_epochs * epoch,
        val_interval=loop.get('val_interval', 1) * epoch,
        val_begin=max(1, (loop.get('val_begin', 1) - 1) * epoch + 1),
    )
    if loop.get('dynamic_intervals'):  # from the first iteration of an epoch on
        cfg.train_cfg.dynamic_intervals = [
            ((milestone - 1) * epoch + 1, interval * epoch) for milestone, interval in loop.dynamic_intervals
        ]
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook) == 'EMAHook' and 'begin_epoch' in hook:
            hook.update(begin_iter=hook.pop('begin_epoch') * epoch)
        for name, value in hook.items():
            if 'epoch' in name and type(value) is int:
                print(
                    f'warning: {type_name(hook)} has {name}={value}, which has no effect, because a training with '
                    'unlabelled images counts iterations'
                )
    if any(node.get('initial_epoch') for node in nested_dicts(cfg.model)):
        print(
            'warning: the assigner of the first epochs (train_cfg.initial_epoch) is used in all of the training, '
            'because a training with unlabelled images counts iterations'
        )
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('by_epoch', True) and type_name(scheduler) != 'ReduceOnPlateauLR':  # by validation
            scheduler.update(by_epoch=False)
            scheduler.pop('convert_to_iter_based', None)
            _multiply_steps(scheduler, epoch)
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook) == 'NoiseScheduleHook' and hook.get('by_epoch'):
            hook.update(by_epoch=False)
            _multiply_steps(hook, epoch)
    hooks: dict[str, Any] = cfg.get('default_hooks') or {}
    if 'logger' in hooks:
        hooks['logger']['log_metric_by_epoch'] = False
    checkpoint = hooks.get('checkpoint')
    if checkpoint and checkpoint.get('by_epoch', True):
        checkpoint.update(by_epoch=False)
        for name in ('interval', 'save_begin'):
            if checkpoint.get(name, -1) > 0:  # an interval of -1 is never
                checkpoint[name] *= epoch
    cfg.log_processor = {**(cfg.get('log_processor') or dict(type='LogProcessor')), 'by_epoch': False}


def _multiply_steps(schedule: dict[str, Any], factor: int) -> None:
    """Multiply the steps of a schedule's config, in place."""
    for name in ('begin', 'end', 'T_max', 'step_size', 'total_iters', 'total_steps'):
        if schedule.get(name) is not None:
            schedule[name] *= factor
    for name in ('milestones', 'periods'):
        if name in schedule:
            schedule[name] = [factor * step for step in schedule[name]]
    if type_name(schedule) == 'ExponentialLR':  # by gamma in each step
        schedule['gamma'] **= 1 / factor
