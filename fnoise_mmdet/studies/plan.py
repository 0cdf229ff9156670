"""What a config's study costs, as far as the config, the data and what others have published tell.

:mod:`fnoise_mmdet.studies.cost` computes with it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config import config_classes, find_detector, nested_dicts
from ..config.types import type_name
from ..datasets import read_coco
from ..datasets.labels import kept_images
from ..engine.preflight import check_model, checkpoint_bytes, kept_checkpoints
from ..errors import InputError
from .cost import ASSUMED, COMPUTED, CONFIG, GIVEN, MEASURED, PUBLISHED, RING, Estimate, Study

MMDET_SPEED, MMDET_ZOO = 'mmdet model zoo, training speed', 'mmdet metafile of Mask R-CNN'
COCO_IMAGES, COCO_EMPTY, COCO_ANNOTATIONS = 'YOLOv5 coco.yaml', 'cocoapi issue 76', 'COCO download page'
COCO_METRICS = 'faster-coco-eval 1.4.1'
# What is cited, by the name that a figure cites it with.
SOURCES = {
    MMDET_SPEED: 'https://github.com/open-mmlab/mmdetection/blob/main/docs/en/model_zoo.md#training-speed: Mask R-CNN '
    'R50 (caffe) FPN 1x, shorter sides of 640 to 800 pixels, 0.265 s an iteration on 8 NVIDIA Tesla V100 (32 GB), '
    'masks as polygons, PyTorch 1.4, CUDA 10.1; Detectron2 on the same machine 0.261 s',
    MMDET_ZOO: 'https://github.com/open-mmlab/mmdetection/blob/main/configs/mask_rcnn/metafile.yml: '
    'mask-rcnn_r50_fpn_1x_coco, 62.11 ms an image of (800, 1333) on a V100, batch size 1, FP32',
    COCO_IMAGES: 'https://github.com/ultralytics/yolov5/blob/master/data/coco.yaml: 118287 and 5000 images, archives '
    'of 19 GB and 1 GB',
    COCO_EMPTY: 'https://github.com/cocodataset/cocoapi/issues/76: 1021 images of train2017 have no annotation',
    COCO_ANNOTATIONS: 'https://cocodataset.org/#download: 2017 Train/Val annotations, 241 MB, as quoted at '
    'https://codetd.com/article/2682722',
    COCO_METRICS: 'https://pypi.org/project/faster-coco-eval/1.4.1: pycocotools takes 18.477 s (boxes) and 29.819 s '
    '(masks) for the 5000 images of val2017, with detections of YOLOv3 and YOLACT',
    RING: 'https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md#allreduce',
}

COCO_TRAIN, COCO_VAL = 'instances_train2017.json', 'instances_val2017.json'
TRAIN_IMAGES, EMPTY_IMAGES, VAL_IMAGES = 118287, 1021, 5000
DATA_BYTES = 19e9 + 1e9 + 241e6
STEP_SECONDS, STEP_BATCH, STEP_SCALE = 0.265, 2, (1333, 800)
IMAGE_SECONDS = 0.06211
METRIC_SECONDS = (18.477 + 29.819) / VAL_IMAGES
# Detection against a training pass, an image: what was published of the same model on the same kind of GPU, rounded.
DETECTION_SHARE = 0.5


def describe_study(
    cfg: Config,
    scales: Sequence[float],
    seeds: int,
    step: Estimate | None = None,
    images: int | None = None,
    val_images: int | None = None,
) -> Study:
    """Gather what a config's study costs. The model is built without its weights, the data need not be there.

    Args:
        cfg: Config of one training.
        scales: Strengths of the noise, a condition each.
        seeds: Trainings of each condition.
        step: Seconds of a pass; None where a published time fits the config.
        images: Images of an epoch; None to count them, or to take COCO's known number.
        val_images: The same for a validation.

    Raises:
        InputError: What the config leaves open was not given, or a setting does not fit.
    """
    missing = [key for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper') if not cfg.get(key)]
    if missing:
        raise InputError(f'{cfg.filename} is no config of a training: it has no {", ".join(missing)}')
    train = cfg.train_dataloader
    batch = train.get('batch_size')
    if not batch:
        raise InputError(f'{cfg.filename}: train_dataloader has no batch_size to plan with')
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if base and base % batch:
        raise InputError(
            f'auto_scale_lr.base_batch_size {base} is no multiple of train_dataloader.batch_size {batch}: '
            'set one of them with --cfg-options'
        )
    val = cfg.get('val_dataloader')
    model = check_model(cfg)
    gradients = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    published = published_step(cfg)
    if step is None and published is None:
        raise InputError(
            f'no published time of a step fits {Path(cfg.filename or "the config").name}: measure it on the GPU with '
            'tools/dev/benchmark.py step CONFIG --noises cct --out FILE.json and give --benchmark FILE.json, or give '
            '--step-seconds and --source'
        )
    found = step or published
    assert found
    none = Estimate(0, '', CONFIG, 'no val_dataloader')
    return Study(
        scales=scales,
        seeds=seeds,
        train_images=Estimate(images, '', GIVEN, '--images') if images else _images(train['dataset'], '--images'),
        length=_length(cfg),
        by_epoch=bool(cfg.train_cfg.get('max_epochs')),
        batch=Estimate(batch, '', CONFIG, 'train_dataloader.batch_size'),
        step_images=Estimate(base, '', CONFIG, 'auto_scale_lr.base_batch_size')
        if base
        else Estimate(batch, '', ASSUMED, 'a single GPU: the config has no auto_scale_lr.base_batch_size'),
        step_seconds=found,
        validations=_validations(cfg) if val else none,
        val_images=_val_images(val, val_images) if val else none,
        val_seconds=Estimate(IMAGE_SECONDS, 's', PUBLISHED, f'{MMDET_ZOO}, V100')
        if step is None
        else Estimate(
            DETECTION_SHARE * found.value / batch, 's', ASSUMED, 'half of what training takes, as of R50-FPN on a V100'
        ),
        metric_seconds=Estimate(METRIC_SECONDS, 's', PUBLISHED, f'{COCO_METRICS}: boxes and masks, other detectors'),
        gradient_bytes=Estimate(gradients, 'B', COMPUTED, f'{gradients // 4:,} trained parameters x 4 bytes'),
        checkpoint_bytes=Estimate(
            checkpoint_bytes(cfg, model), 'B', COMPUTED, "weights + buffers + optimizer's state, of the built model"
        ),
        checkpoints=Estimate(kept_checkpoints(cfg), '', CONFIG, 'default_hooks.checkpoint: interval, max_keep_ckpts'),
        data_bytes=Estimate(DATA_BYTES, 'B', PUBLISHED, f'{COCO_IMAGES} + {COCO_ANNOTATIONS}')
        if COCO_TRAIN in str(train['dataset'])
        else None,
    )


def published_step(cfg: Config) -> Estimate | None:
    """Return the published time of a step where it fits: Mask R-CNN R50-FPN, 2 images of 1333 x 800, float32."""
    _, detector = find_detector(cfg)
    backbone = detector.get('backbone') or {}
    scales = [node.get('scale') for node in nested_dicts(cfg.train_dataloader.dataset) if type_name(node) == 'Resize']
    fits = (
        type_name(detector) == 'MaskRCNN'
        and (type_name(backbone), backbone.get('depth')) == ('ResNet', 50)
        and any(type_name(module) == 'FPN' for module in nested_dicts(detector.get('neck')))
        and cfg.train_dataloader.batch_size == STEP_BATCH
        and scales == [STEP_SCALE]
        and type_name(cfg.optim_wrapper) in ('', 'OptimWrapper')
    )
    if not fits:
        return None
    return Estimate(STEP_SECONDS, 's', PUBLISHED, f'{MMDET_SPEED}: {STEP_BATCH} images a GPU, 8 V100')


def measured_step(path: Path, config: str, options: Mapping[str, Any] | None, noise: str) -> Estimate:
    """Read the time of a pass from what ``tools/dev/benchmark.py step --out`` has written.

    Args:
        path: The file.
        config: The config that is planned for, which it must have measured.
        options: The same of ``--cfg-options``.
        noise: The noise to take the time with, where it was measured; else the time without noise.

    Raises:
        InputError: The file is another one, or of another config.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        settings, results, env = content['settings'], content['results'], content['environment']
        name = noise if noise in results else 'without noise'
        seconds = float(results[name]['median'])
        was = (content['command'], settings['config'], settings['cfg_options'] or {})
        device = env['processor'] if settings['device'] == 'cpu' else env['GPU']
        source = f'{path.name}: {name}, {device}, torch {env["torch"]}'
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} was not written by tools/dev/benchmark.py step --out: {type(error).__name__}: {error}'
        ) from None
    if was != ('step', config, json.loads(json.dumps(options or {}))):
        raise InputError(
            f'{path} measures {was[0]} of {was[1]} with options {was[2]}, not a step of {config} with {options or {}}: '
            'give the same to both'
        )
    return Estimate(seconds, 's', MEASURED, source)


def _length(cfg: Config) -> Estimate:
    """Return the epochs or the iterations of a training."""
    for key in ('max_epochs', 'max_iters'):
        if cfg.train_cfg.get(key):
            return Estimate(cfg.train_cfg[key], '', CONFIG, f'train_cfg.{key}')
    raise InputError(f'{cfg.filename}: train_cfg has neither max_epochs nor max_iters')


def _validations(cfg: Config) -> Estimate:
    length, interval = _length(cfg), cfg.train_cfg.get('val_interval', 1)
    return Estimate(length.value // interval, '', CONFIG, f'{length.source} / train_cfg.val_interval')


def _val_images(loader: dict[str, Any], given: int | None) -> Estimate:
    return Estimate(given, '', GIVEN, '--val-images') if given else _images(loader['dataset'], '--val-images')


def _images(dataset: dict[str, Any], option: str) -> Estimate:
    """Return the images of a data set, by counting them, or COCO's."""
    if type_name(dataset) == 'ClassBalancedDataset':
        raise InputError(f'how often ClassBalancedDataset repeats images is not computed: give {option}')
    if 'datasets' in dataset:
        parts = [_images(inner, option) for inner in dataset['datasets']]
        return Estimate(sum(one.value for one in parts), '', parts[0].kind, ' + '.join(one.source for one in parts))
    if 'dataset' in dataset:
        one, times = _images(dataset['dataset'], option), dataset.get('times', 1)
        return Estimate(one.value * times, '', one.kind, f'{times} x {one.source}') if times != 1 else one
    ann_file = Path(dataset.get('data_root') or '') / dataset.get('ann_file', '')
    filters = {} if dataset.get('test_mode') else dataset.get('filter_cfg') or {}
    if ann_file.is_file():
        return Estimate(_count(ann_file, dataset, filters), '', MEASURED, f'counted in {ann_file.name}')
    if ann_file.name == COCO_TRAIN and filters.get('filter_empty_gt'):
        source = f'{COCO_IMAGES}, less the empty ones of {COCO_EMPTY}, which mmdet leaves out'
        return Estimate(TRAIN_IMAGES - EMPTY_IMAGES, '', PUBLISHED, source)
    if ann_file.name in (COCO_TRAIN, COCO_VAL):
        return Estimate(TRAIN_IMAGES if ann_file.name == COCO_TRAIN else VAL_IMAGES, '', PUBLISHED, COCO_IMAGES)
    raise InputError(f'annotation file {ann_file} is not there to count the images of: give their number with {option}')


def _count(ann_file: Path, dataset: dict[str, Any], filters: Mapping[str, Any]) -> int:
    """Count the images that mmdet keeps of an annotation file."""
    return kept_images(read_coco(ann_file, annotated=False), config_classes(dataset), filters)[0]
