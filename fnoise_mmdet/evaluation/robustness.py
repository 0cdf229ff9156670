"""Evaluating a checkpoint under corruptions of its images, and under feature noise."""

import contextlib
import copy
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import METRICS, TRANSFORMS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..comparison.robustness import FILE, FOLDER
from ..config import NOISE_CONFIGS, PUBLISHED_PLACES, add_fnoise, config_classes, innermost_datasets, is_coco
from ..config.types import type_class, type_name
from ..datasets import count_objects, read_coco
from ..datasets.files import write_atomically
from ..engine.checkpoint import load_checkpoint, load_weights
from ..engine.preflight import check_checkpoint, check_data, check_model
from ..errors import InputError
from ..models.necks import FNoiseNeck
from ..models.necks.fnoise_neck import find_fnoise_necks
from ..noise import FeatureNoise, Noise
from .coco_metric import CompleteCocoMetric
from .corruption import SeededCorrupt, as_number, check_size

# What results must have in common to stand in one file, in words.
IDENTITY = {
    'annotations_sha256': 'annotations',
    'image_ids': 'images',
    'seed': 'seed',
    'config_sha256': 'settings of the config',
}


class Evaluation(NamedTuple):
    """One way to evaluate a checkpoint; ``kind`` is ``clean``, ``corruption`` or ``feature_noise``."""

    kind: str
    name: str | None = None
    severity: int | None = None
    preset: str | None = None
    scale: float | None = None

    def settings(self) -> dict[str, Any]:
        """Return what is set, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def label(self) -> str:
        """Return a name for files."""
        kind = self.kind if self.kind != 'corruption' else None
        parts = [kind, self.name, self.severity, self.preset, None if self.scale is None else f'{self.scale:g}']
        return '_'.join(str(part) for part in parts if part is not None)


def make_plan(
    corruptions: Sequence[str], severities: Sequence[int], scales: Sequence[float], preset: str
) -> list[Evaluation]:
    """Return the evaluations of a checkpoint, the clean one first."""
    return [
        Evaluation('clean'),
        *(Evaluation('corruption', name, severity) for name in corruptions for severity in sorted(set(severities))),
        *(Evaluation('feature_noise', preset=preset, scale=scale) for scale in sorted(set(scales))),
    ]


class RobustnessSetup:
    """A checkpoint and the data to evaluate it on, checked before anything is evaluated.

    Images are corrupted by :class:`SeededCorrupt`, right after they are
    loaded. Feature noise acts on every level between backbone and neck, or
    where the preset was published for, whatever noise the checkpoint was
    trained with: so that checkpoints with and without F-Noise are evaluated
    alike. Each image has a noise of its own, see :class:`NoisePerImage`.

    Args:
        cfg: Config of the training, with the paths of the data.
        checkpoint: File.
        part: ``'val'`` or ``'test'``.
        seed: Of the corruptions and the noise.
        images: Evaluate the first ``images`` images alone. Defaults to None, which is all.

    Raises:
        InputError: The config, the checkpoint or the data cannot be used.
    """

    def __init__(
        self, cfg: Config, checkpoint: Path, part: str = 'val', seed: int = 0, images: int | None = None
    ) -> None:
        if not cfg.get(f'{part}_dataloader') or not cfg.get(f'{part}_evaluator'):
            raise InputError(f'{cfg.filename} has no {part}_dataloader and {part}_evaluator: choose another --part')
        self.cfg = copy.deepcopy(cfg)
        self.checkpoint = checkpoint
        self.seed = seed
        self.loader_config = self.cfg[f'{part}_dataloader']
        self.ann_file, self.image_records = self._check_data(part, images)
        self.metric_config = {**_coco_metric(self.cfg, part), 'ann_file': str(self.ann_file)}
        self.meta = check_checkpoint(str(checkpoint), config_classes(self.loader_config.dataset))
        self.cfg.model = without_fnoise(self.cfg.model)
        self._identity = self._identify()
        _add_corruption(self.loader_config.dataset, seed)
        self.loader_config['persistent_workers'] = False  # else they would keep the corruption they began with

    def _check_data(self, part: str, images: int | None) -> tuple[Path, list[dict[str, Any]]]:
        """Check the data set, restrict it to its first images, and give its annotations and images."""
        dataset = self.loader_config.dataset
        if list(innermost_datasets(dataset)) != [dataset] or not is_coco(dataset):
            raise InputError(
                f'{part}_dataloader of {self.cfg.filename} must have one data set in COCO format, as mPC is of '
                f"COCO's AP, but has {type_name(dataset)}"
            )
        check_data(self.cfg, [part])
        ann_file = (Path(dataset.get('data_root') or '') / dataset.ann_file).resolve()
        # mmdet goes through the images in the order of their ids' first mention.
        coco = read_coco(ann_file)
        records = coco['images'][:images]
        if not count_objects({**coco, 'images': records}, config_classes(dataset)):
            raise InputError(
                f"AP is undefined, and with it mPC: {ann_file} has no object of the config's classes on the "
                f'{len(records)} images to evaluate on'
            )
        if images is not None:
            dataset.indices = len(records)
        return ann_file, records

    def check_sizes(self) -> None:
        """Check that every image is large enough to be corrupted, as far as the annotations tell.

        Raises:
            InputError: A side is below 32 pixels.
        """
        for record in self.image_records:
            check_size(record['file_name'], record['width'], record['height'])

    def identity(self) -> dict[str, Any]:
        """Return what makes results comparable with others of the same: data, seed, and settings of the config."""
        return self._identity

    def _identify(self) -> dict[str, Any]:
        settings = [
            self.cfg.model,
            [self.loader_config.get(name) for name in ('batch_size', 'batch_sampler')],
            [self.loader_config.dataset.get(name) for name in ('pipeline', 'metainfo')],
            {name: value for name, value in self.metric_config.items() if name != 'ann_file'},
        ]
        return {
            'annotations_sha256': _sha256(self.ann_file.read_bytes()),
            'image_ids': [record['id'] for record in self.image_records],
            'seed': self.seed,
            'config_sha256': _sha256(json.dumps(settings, sort_keys=True, default=str).encode()),
        }

    def load_model(self, preset: str | None = None) -> nn.Module:
        """Build the detector with its weights, and a place for feature noise where a preset is given.

        Raises:
            InputError: The model cannot be built, or the checkpoint does not fit it.
        """
        cfg = copy.deepcopy(self.cfg)
        if preset is not None:
            add_fnoise(cfg, NOISE_CONFIGS[preset], **PUBLISHED_PLACES.get(preset, {}))
        model = check_model(cfg)
        load_weights(model, load_checkpoint(str(self.checkpoint)), str(self.checkpoint))
        return model.to(get_device()).eval()

    def build(self, preset: str | None = None) -> 'RobustnessEvaluator':
        """Build what evaluates the checkpoint, with the preset of the feature noise where there is to be one.

        Raises:
            InputError: The model cannot be built, or the checkpoint does not fit it.
        """
        with quiet():
            loader = Runner.build_dataloader(self.loader_config, seed=self.seed)
            metric = METRICS.build(self.metric_config)
        metric.dataset_meta = loader.dataset.metainfo
        metric.img_ids = self.identity()['image_ids']  # others would count as images without detections
        return RobustnessEvaluator(self.load_model(preset), loader, metric, self.seed)


class RobustnessEvaluator:
    """Evaluate a detector in one way after the other, with one model, data set and metric for all of them.

    Args:
        model: In evaluation mode.
        loader: Its data set has a :class:`SeededCorrupt` in its pipeline.
        metric: Metric of the data set.
        seed: Of the feature noise.
    """

    def __init__(self, model: nn.Module, loader: DataLoader, metric: CompleteCocoMetric, seed: int) -> None:
        self.model: Any = model  # whose test_step torch's types do not know
        self.loader = loader
        self.dataset: Any = loader.dataset
        self.metric = metric
        self.seed = seed
        self._corruption = _find_corruption(loader.dataset)

    def evaluate(
        self, evaluation: Evaluation, predictions: Path, advance: Callable[[int], None] = lambda images: None
    ) -> dict[str, float]:
        """Evaluate in one way.

        Args:
            evaluation: The way.
            predictions: Folder for the detections, which are written in COCO's
                results format as ``LABEL.bbox.json`` and ``LABEL.segm.json``.
            advance: Called with the number of images done after each batch.

        Returns:
            The metrics, such as ``bbox_mAP``.

        Raises:
            InputError: An image cannot be loaded or corrupted.
        """
        self._corruption.corruption = evaluation.name
        self._corruption.severity = evaluation.severity or 1
        noise = None
        if evaluation.preset is not None:
            noise = NoisePerImage(FeatureNoise(evaluation.preset, scale=evaluation.scale), self.seed)
        detections = 0
        # A few detectors draw random numbers when they predict.
        with torch.random.fork_rng(), torch.no_grad(), noise_in_evaluation(self.model, noise):
            torch.manual_seed(self.seed)
            for batch in self._batches():
                if noise is not None:
                    noise.images = [as_number(sample.img_id) for sample in batch['data_samples']]
                samples = self.model.test_step(batch)
                self.metric.process(batch, [sample.to_dict() for sample in samples])
                detections += sum(len(sample.pred_instances) for sample in samples)
                advance(len(samples))
        predictions.mkdir(parents=True, exist_ok=True)
        self.metric.outfile_prefix = str(predictions / evaluation.label())
        with quiet():
            metrics = self.metric.evaluate(len(self.dataset))
        if not detections:  # CompleteCocoMetric lets a detection of no extent stand for none
            for kind in ('bbox', 'segm'):
                Path(f'{self.metric.outfile_prefix}.{kind}.json').unlink(missing_ok=True)
            for kind in self.metric.metrics:
                Path(f'{self.metric.outfile_prefix}.{kind}.json').write_text('[]', encoding='utf-8')
        return {name.removeprefix('coco/'): float(value) for name, value in metrics.items()}

    def _batches(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:  # a broken image makes OpenCV raise, or not, by its kind
                # Of an error from a worker the text is its stack trace.
                reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                raise InputError(f'an image cannot be loaded: {reason[0]}') from error
            yield batch


class NoisePerImage(Noise):
    """A noise that is a function of seed, image and level, and not of the batch.

    Each image is perturbed as a batch of its own: also where a preset shares
    a draw over a batch, as ``cct`` does, every image has its own. Images of
    different sizes in one batch are padded to a common one, of which the
    shape of the draw is a function too: there the size of the batches must be
    the same for noise to be repeated.
    """

    def __init__(self, noise: Noise, seed: int) -> None:
        super().__init__()
        self.noise = noise
        self.seed = seed
        self.images: list[int] = []  # of the batch to come

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb a level, which is the last number of ``key``.

        Raises:
            ValueError: There are not as many features as images.
        """
        if len(x) % len(self.images):
            raise ValueError(f'there must be features of {len(self.images)} images, but got {len(x)}')
        views = len(x) // len(self.images)  # of one image each, where a detector looks at several
        return torch.cat(
            [
                self.noise.perturb(x[i : i + 1], (self.seed, self.images[i // views], i % views, key[-1]))
                for i in range(len(x))
            ]
        )


@contextlib.contextmanager
def noise_in_evaluation(model: nn.Module, noise: Noise | None) -> Iterator[None]:
    """Put noise on what passes a model's :class:`~fnoise_mmdet.FNoiseNeck` also in evaluation mode, within the block.

    Args:
        model: With at least one such neck where there is a noise.
        noise: Takes the place of the neck's own; None changes nothing.
    """
    necks = find_fnoise_necks(model) if noise is not None else []
    handles, own = [], [neck.noise for neck in necks]
    try:
        for neck in necks:
            neck.noise = noise
            if neck.position == 'pre':
                handles.append(neck.register_forward_pre_hook(lambda neck, args: (_preview(neck, args[0]), *args[1:])))
            else:
                handles.append(neck.register_forward_hook(lambda neck, args, output: _preview(neck, output)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for neck, noise in zip(necks, own):
            neck.noise = noise


def _preview(neck: FNoiseNeck, features: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
    return neck.preview([features])[0] if isinstance(features, Tensor) else neck.preview(features)


def quiet() -> contextlib.AbstractContextManager:
    """Keep pycocotools and mmengine from printing within the block."""
    return contextlib.redirect_stdout(io.StringIO())


def without_fnoise(node: Any) -> Any:
    """Return a part of a config with what each FNoiseNeck wraps in its place."""
    if _is_fnoise(node):
        return without_fnoise(node.get('neck'))
    if isinstance(node, dict):
        return type(node)({name: without_fnoise(child) for name, child in node.items()})
    if isinstance(node, list | tuple):
        children: list[Any] = []
        for child in node:
            plain = without_fnoise(child)
            if not _is_fnoise(child):
                children.append(plain)
            elif plain is not None:
                children += plain if isinstance(plain, list | tuple) else [plain]
        return type(node)(children)
    return node


def _is_fnoise(node: Any) -> bool:
    return type_name(node) == 'FNoiseNeck'


def _coco_metric(cfg: Config, part: str) -> dict[str, Any]:
    """Return the config of the part's COCO metric, one that knows the AP of no detection, with nothing left out."""
    evaluator = cfg[f'{part}_evaluator']
    for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator]:
        if type_name(metric) in ('CocoMetric', 'CompleteCocoMetric'):
            named = metric.get('metric', 'bbox')
            kinds = [kind for kind in ([named] if isinstance(named, str) else named) if kind in ('bbox', 'segm')]
            if kinds:
                metric = copy.deepcopy(metric)
                metric.update(type='CompleteCocoMetric', metric=kinds, prefix='coco')
                for name in ('format_only', 'metric_items', 'classwise', 'outfile_prefix'):
                    metric.pop(name, None)
                return metric
    raise InputError(
        f'{part}_evaluator of {cfg.filename} must be a CocoMetric or CompleteCocoMetric of bbox or segm, but is '
        f'{evaluator}'
    )


def _add_corruption(dataset: dict[str, Any], seed: int) -> None:
    """Put a corruption, which is off, right after the step of a data set's pipeline that loads the image."""
    pipeline = list(dataset['pipeline'])
    for index, step in enumerate(pipeline):
        kind = type_class(step, TRANSFORMS)
        if kind is not None and issubclass(kind, LoadImageFromFile):
            pipeline.insert(index + 1, dict(type='SeededCorrupt', seed=seed))
            dataset['pipeline'] = pipeline
            return
    raise InputError(
        'the images of this data set cannot be corrupted: its pipeline has no LoadImageFromFile, but '
        f'{", ".join(map(type_name, pipeline))}'
    )


def _find_corruption(dataset: Any) -> SeededCorrupt:
    return next(step for step in dataset.pipeline.transforms if isinstance(step, SeededCorrupt))


class ResultFile:
    """The results of a checkpoint on disk: what was evaluated is kept, and the rest is added.

    Args:
        work_dir: Folder in which ``robustness/`` lies, or will lie.
        setup: What is evaluated.
        force: Whether results that are there are dropped.

    Raises:
        InputError: There are results of other data, another seed or other
            settings, and ``force`` is not set.
    """

    def __init__(self, work_dir: Path, setup: RobustnessSetup, force: bool = False) -> None:
        self.path = work_dir / FOLDER / FILE
        self.predictions = work_dir / FOLDER / 'predictions'
        self.header = {
            'checkpoint': str(setup.checkpoint),
            'checkpoint_sha256': _sha256(Path(setup.checkpoint).read_bytes()),
            'ann_file': str(setup.ann_file),
            'images': len(setup.image_records),
            **setup.identity(),
        }
        self.results: list[dict[str, Any]] = []
        self.note = ''
        if not self.path.exists() or force:
            return
        try:
            content = json.loads(self.path.read_text(encoding='utf-8'))
            differing = [words for name, words in IDENTITY.items() if content[name] != self.header[name]]
            results, trained = content['results'], content['checkpoint_sha256']
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f'{self.path} is not a file of this tool: --force replaces it') from error
        if differing:
            raise InputError(f'{self.path} has results of other {", ".join(differing)}: --force replaces them')
        if trained == self.header['checkpoint_sha256']:
            self.results = results
        else:
            self.note = 'the checkpoint is another one than that of the results there, which are replaced'

    def missing(self, plan: Sequence[Evaluation]) -> list[Evaluation]:
        """Return the evaluations of a plan that are not there yet."""
        return [one for one in plan if not any(one.settings().items() <= result.items() for result in self.results)]

    def start(self) -> None:
        """Drop what is there, unless it is kept: no list of results may name the detections of others."""
        if not self.results:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.predictions, ignore_errors=True)

    def add(self, evaluation: Evaluation, metrics: dict[str, float]) -> None:
        """Add a result, and write all of them, whole or not at all."""
        result = {**evaluation.settings(), 'metrics': metrics, 'predictions': evaluation.label()}
        self.results.append(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps({**self.header, 'results': self.results}).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
