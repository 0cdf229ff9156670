"""Cost of a study: GPU hours, days and disk, each figure with its source."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..comparison.numbers import duration, number, quantity
from ..comparison.table import Table
from ..config import check_has, config_classes, find_detector, nested_dicts
from ..config.types import type_name
from ..datasets import read_coco
from ..datasets.files import read_json
from ..datasets.labels import kept_images
from ..engine.preflight import check_model, checkpoint_bytes, kept_checkpoints
from ..errors import InputError

# Images of COCO 2017: https://github.com/ultralytics/yolov5/blob/master/data/coco.yaml. 1,021 of the training images
# have no annotation, https://github.com/cocodataset/cocoapi/issues/76, and mmdet skips them.
COCO = {'instances_train2017.json': 118_287, 'instances_val2017.json': 5_000}
COCO_EMPTY = 1_021
# Mask R-CNN R50-FPN on a V100: a step of 2 images, by mmdet's model zoo (docs/en/model_zoo.md#training-speed), and
# detection on one image, by its configs/mask_rcnn/metafile.yml.
STEP_SECONDS, STEP_BATCH, STEP_SCALE = 0.265, 2, (1333, 800)
IMAGE_SECONDS = 0.062
# COCO's metrics for boxes and masks, per image: README of faster-coco-eval 1.4.1.
METRIC_SECONDS = 0.0097
# Detection on an image, and its losses (ValidationLossHook), as shares of a training step per image: detection as of
# the two times above, rounded, and the forward pass one third, since the backward pass computes two gradients.
DETECTION_SHARE, LOSS_SHARE = 1 / 2, 1 / 3
# Up to 100 detections per validation image, each in two files of the work dir.
DETECTION_BYTES = 100 * 1000


class Estimate(NamedTuple):
    """A number and its source."""

    value: float
    source: str


class Cost(NamedTuple):
    """What the cost of a study depends on.

    Args:
        trainings: Number of trainings.
        steps: Passes of one GPU in a training, each over a batch of the config.
        step_seconds: Seconds per pass, including the backward pass and the optimizer.
        validations: Validations per training.
        val_images: Images per validation.
        val_seconds: Seconds per validation image: detection, losses and metrics.
        checkpoint_bytes: Bytes of a checkpoint, including the state of the optimizer.
        checkpoints: Checkpoints that a training keeps.
    """

    trainings: Estimate
    steps: Estimate
    step_seconds: Estimate
    validations: Estimate
    val_images: Estimate
    val_seconds: Estimate
    checkpoint_bytes: Estimate
    checkpoints: Estimate

    @property
    def training_seconds(self) -> float:
        """Seconds of a training on one GPU."""
        validation = self.validations.value * self.val_images.value * self.val_seconds.value
        return self.steps.value * self.step_seconds.value + validation

    def seconds(self, gpus: int) -> float:
        """Return the seconds of the study with one training per GPU."""
        return math.ceil(self.trainings.value / gpus) * self.training_seconds

    @property
    def disk_bytes(self) -> float:
        """Bytes of the checkpoints and detections of all trainings, without the data set."""
        detections = self.val_images.value * DETECTION_BYTES
        return self.trainings.value * (self.checkpoints.value * self.checkpoint_bytes.value + detections)

    def tables(self, gpus: Sequence[int]) -> list[Table]:
        """Return the figures, and the time that the study takes on each number of GPUs."""

        def hours(seconds: float) -> str:
            return f'{number(seconds / 3600, 1)} h' if seconds >= 3600 else duration(seconds)

        total = self.trainings.value * self.training_seconds
        figures = [
            ['trainings', f'{self.trainings.value:,.0f}', self.trainings.source],
            ['steps per training', f'{self.steps.value:,.0f}', self.steps.source],
            ['time per step', quantity(self.step_seconds.value, 's'), self.step_seconds.source],
            ['validations per training', f'{self.validations.value:,.0f}', self.validations.source],
            ['images per validation', f'{self.val_images.value:,.0f}', self.val_images.source],
            ['time per validation image', quantity(self.val_seconds.value, 's'), self.val_seconds.source],
            ['GPU time per training', hours(self.training_seconds), 'steps x time + validations x images x time'],
            ['GPU time of the study', hours(total), 'GPU time per training x trainings'],
            ['checkpoint', quantity(self.checkpoint_bytes.value, 'B'), self.checkpoint_bytes.source],
            ['checkpoints per training', f'{self.checkpoints.value:,.0f}', self.checkpoints.source],
            ['disk', quantity(self.disk_bytes, 'B'), 'checkpoints, and at most 100 kB of detections per image'],
        ]
        rows = [[str(count), duration(self.seconds(count))] for count in sorted(set(gpus))]
        return [
            Table.of(['quantity', 'value', 'source'], figures, numeric=1),
            Table.of(['GPUs, one training each', 'time'], rows),
        ]


def study_cost(
    cfg: Config,
    scales: Sequence[float],
    seeds: int,
    step: Estimate | None = None,
    images: int | None = None,
    val_images: int | None = None,
) -> Cost:
    """Estimate the cost of a study. The model is built without its weights; the data need not be there.

    Args:
        cfg: Config of one training.
        scales: Scales of the noise, one condition each.
        seeds: Trainings of each condition.
        step: Seconds per pass of one GPU. Defaults to a published time, if there is one for the config.
        images: Images per epoch. Defaults to those of the annotation file, or of COCO 2017.
        val_images: The same for a validation.

    Raises:
        InputError: If figures are neither given nor known (the message names all), or the config is not one of a
            training.
    """
    check_has(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    batch = cfg.train_dataloader.get('batch_size')
    if not batch:
        raise InputError(f'{cfg.filename}: train_dataloader has no batch_size')
    length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')
    if not length:
        raise InputError(f'{cfg.filename}: train_cfg has neither max_epochs nor max_iters')
    model = check_model(cfg)
    published = step is None
    step, steps, val_count = _all_known(
        lambda: step or _published_step(cfg), lambda: _steps(cfg, batch, images), lambda: _val_images(cfg, val_images)
    )
    per_image = IMAGE_SECONDS if published else step.value / batch * DETECTION_SHARE
    interval = cfg.train_cfg.get('val_interval', 1)
    return Cost(
        trainings=Estimate(len(scales) * seeds, f'{len(scales)} scales x {seeds} seeds'),
        steps=steps,
        step_seconds=step,
        validations=Estimate(length // interval if val_count.value else 0, f'{length} / val_interval {interval}'),
        val_images=val_count,
        val_seconds=Estimate(
            per_image + step.value / batch * LOSS_SHARE + METRIC_SECONDS,
            f'detection ({"published, V100" if published else "half a step per image"}), losses (a third of a step '
            f'per image), metrics of COCO ({quantity(METRIC_SECONDS, "s")})',
        ),
        checkpoint_bytes=Estimate(checkpoint_bytes(cfg, model), 'weights, buffers and state of the optimizer'),
        checkpoints=Estimate(kept_checkpoints(cfg), 'interval and max_keep_ckpts of default_hooks.checkpoint'),
    )


def _all_known(*figures: Callable[[], Estimate]) -> list[Estimate]:
    """Return the figures; raise one InputError for all that are not known."""
    known, unknown = [], []
    for figure in figures:
        try:
            known.append(figure())
        except InputError as error:
            unknown.append(str(error))
    if unknown:
        raise InputError('; '.join(unknown))
    return known


def _steps(cfg: Config, batch: int, images: int | None) -> Estimate:
    """Return the passes of a training on one GPU, which accumulates the gradients of several that the config means."""
    epochs = cfg.train_cfg.get('max_epochs')
    if epochs:
        count = _images(cfg.train_dataloader['dataset'], '--images', images)
        source = f'{epochs} epochs of {count.value:,.0f} images ({count.source}), {batch} per step'
        return Estimate(epochs * math.ceil(count.value / batch), source)
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or batch
    passes = max(1, round(base / batch))
    accumulated = f', {passes} passes each (auto_scale_lr.base_batch_size {base})' if passes > 1 else ''
    return Estimate(cfg.train_cfg.max_iters * passes, f'train_cfg.max_iters{accumulated}')


def _val_images(cfg: Config, given: int | None) -> Estimate:
    if not cfg.get('val_dataloader'):
        return Estimate(0, 'no val_dataloader')
    return _images(cfg.val_dataloader['dataset'], '--val-images', given)


def _published_step(cfg: Config) -> Estimate:
    """Return the published time per step of Mask R-CNN R50-FPN with 2 images of 1333 x 800 in float32.

    Raises:
        InputError: If the config is of another training.
    """
    _, detector = find_detector(cfg)
    backbone = detector.get('backbone') or {}
    scales = [node.get('scale') for node in nested_dicts(cfg.train_dataloader.dataset) if type_name(node) == 'Resize']
    if (
        type_name(detector) == 'MaskRCNN'
        and (type_name(backbone), backbone.get('depth')) == ('ResNet', 50)
        and any(type_name(module) == 'FPN' for module in nested_dicts(detector.get('neck')))
        and cfg.train_dataloader.batch_size == STEP_BATCH
        and scales == [STEP_SCALE]
        and type_name(cfg.optim_wrapper) in ('', 'OptimWrapper')
    ):
        return Estimate(STEP_SECONDS, "published, mmdet's model zoo, V100")
    raise InputError(
        f'no published time of a step fits {Path(cfg.filename or "the config").name}: pass --step-seconds, '
        'or measure it on your GPU in a checkout with tools/dev/benchmark.py step CONFIG --noises cct --out FILE.json '
        'and pass --benchmark FILE.json'
    )


def measured_step(path: Path, config: str, options: Mapping[str, Any] | None, noise: str) -> Estimate:
    """Read the time per step from a file that ``tools/dev/benchmark.py step --out`` has written.

    Args:
        path: The file.
        config: Path of the config, which must be the measured one.
        options: Its ``--cfg-options``.
        noise: The noise whose time is read if it was measured; else the time without noise.

    Raises:
        InputError: If the file is another one, or of another config.
    """

    def parse(content: Any) -> tuple[Any, float, str]:
        settings, results, env = content['settings'], content['results'], content['environment']
        name = noise if noise in results else 'without noise'
        seconds = float(results[name]['median'])
        measured = (content['command'], settings['config'], settings['cfg_options'] or {})
        device = env['processor'] if settings['device'] == 'cpu' else env['GPU']
        return measured, seconds, f'measured, {path.name}: {name}, {device}, torch {env["torch"]}'

    measured, seconds, source = read_json(path, 'was not written by tools/dev/benchmark.py step --out', parse)
    if measured != ('step', config, json.loads(json.dumps(options or {}))):
        raise InputError(
            f'{path} measures {measured[0]} of {measured[1]} with options {measured[2]}, not a step of {config} with '
            f'{options or {}}: use the same config and options in both commands'
        )
    return Estimate(seconds, source)


def _images(dataset: dict[str, Any], option: str, given: int | None = None) -> Estimate:
    """Return the images of a data set that mmdet keeps: given by an option, counted, or those of COCO."""
    if given:
        return Estimate(given, option)
    if type_name(dataset) == 'ClassBalancedDataset':
        raise InputError(f'how often ClassBalancedDataset repeats images is not computed: pass {option}')
    if 'datasets' in dataset:
        parts = [_images(inner, option) for inner in dataset['datasets']]
        return Estimate(sum(one.value for one in parts), ' + '.join(one.source for one in parts))
    if 'dataset' in dataset:
        one, times = _images(dataset['dataset'], option), dataset.get('times', 1)
        return Estimate(one.value * times, f'{times} x {one.source}' if times != 1 else one.source)
    ann_file = Path(dataset.get('data_root') or '') / dataset.get('ann_file', '')
    filters = {} if dataset.get('test_mode') else dataset.get('filter_cfg') or {}
    if ann_file.is_file():
        kept, _, _ = kept_images(read_coco(ann_file, annotated=False), config_classes(dataset), filters)
        return Estimate(len(kept), f'counted in {ann_file.name}')
    if ann_file.name in COCO:
        empty = COCO_EMPTY if 'train' in ann_file.name and filters.get('filter_empty_gt') else 0
        return Estimate(COCO[ann_file.name] - empty, 'COCO 2017')
    raise InputError(f'annotation file {ann_file} not found: pass the number of images with {option}')
