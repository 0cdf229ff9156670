"""Evaluation of a checkpoint under image corruptions, feature noise and perturbations of features by hardware."""

import contextlib
import copy
import hashlib
import io
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import METRICS, TRANSFORMS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..comparison.robustness import FILE, FOLDER
from ..config import add_fnoise, config_classes, innermost_datasets, is_coco, noise_settings, without_fnoise
from ..config.types import type_class, type_name
from ..datasets import count_objects, read_coco
from ..datasets.files import read_json, require, write_atomically
from ..datasets.images import check_image_files, printable
from ..engine.checkpoint import load_checkpoint, load_weights
from ..engine.preflight import check_checkpoint, check_data, check_model
from ..errors import InputError
from ..models.layers import find_noise_layers
from ..noise import FeatureNoise, Noise
from ..visualization.maps import signal_and_noise
from .coco_metric import CompleteCocoMetric
from .corruption import OtherDomain, SeededCorrupt, as_number, check_size
from .deployment import deployment_noise, deployment_plan

# Properties that results in one file must share, and their descriptions.
IDENTITY = {
    'annotations_sha256': 'annotations',
    'image_ids': 'images',
    'seed': 'seed',
    'config_sha256': 'settings of the config',
}


class Evaluation(NamedTuple):
    """One evaluation of a checkpoint.

    ``kind`` is ``clean``, ``corruption``, ``feature_noise``, ``deployment`` or
    ``domain``, whose images are in ``folder``, with ``images_sha256``.
    """

    kind: str
    name: str | None = None
    severity: int | None = None
    preset: str | None = None
    scale: float | None = None
    folder: str | None = None
    images_sha256: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return the settings that are not None."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def noise(self, seed: int) -> 'NoisePerImage | None':
        """Return the perturbation of the features, None without one."""
        if self.preset is not None:
            return NoisePerImage(FeatureNoise(self.preset, scale=self.scale), seed)
        if self.kind == 'deployment' and self.name is not None:
            return NoisePerImage(deployment_noise(self.name, self.scale), seed)
        return None

    def label(self) -> str:
        """Return a name for files."""
        kind = self.kind if self.kind != 'corruption' else None
        parts = [kind, self.name, self.severity, self.preset, None if self.scale is None else f'{self.scale:g}']
        return '_'.join(str(part) for part in parts if part is not None)


class CostGroup(NamedTuple):
    """Evaluations that take about the same time per image: of one kind, and of one corruption."""

    kind: str
    corruption: str | None = None


def cost_group(evaluation: Evaluation) -> CostGroup:
    """Return the group of an evaluation."""
    return CostGroup(evaluation.kind, evaluation.name if evaluation.kind == 'corruption' else None)


def make_plan(
    corruptions: Sequence[str],
    severities: Sequence[int],
    scales: Sequence[float],
    preset: str,
    deployment: bool = False,
    domains: Mapping[str, Path] | None = None,
) -> list[Evaluation]:
    """Return the evaluations of a checkpoint, the clean one first.

    Args:
        corruptions: Names of the corruptions of images.
        severities: Their severities.
        scales: Scales of the feature noise.
        preset: Its preset.
        deployment: Whether to add all perturbations of features by hardware, see :mod:`.deployment`. Defaults to False.
        domains: Folders with the same images in other domains, by the name of the domain. Defaults to none.
    """
    return [
        Evaluation('clean'),
        *(Evaluation('corruption', name, severity) for name in corruptions for severity in sorted(set(severities))),
        *(Evaluation('feature_noise', preset=preset, scale=scale) for scale in sorted(set(scales))),
        *(Evaluation('deployment', name, scale=scale) for name, scale in deployment_plan() if deployment),
        *(_domain(name, folder) for name, folder in (domains or {}).items()),
    ]


def _domain(name: str, folder: Path) -> Evaluation:
    """Return the evaluation of a domain, which is another one where its images have changed."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        digest.update(f'{path.relative_to(folder)} {_sha256(path.read_bytes())}'.encode(errors='surrogateescape'))
    return Evaluation('domain', name, folder=str(folder.resolve()), images_sha256=digest.hexdigest())


class RobustnessSetup:
    """A checkpoint and its evaluation data, checked in advance.

    Images are corrupted by :class:`SeededCorrupt` right after loading. Feature
    noise is applied to every level between backbone and neck, or at the
    published place of the preset, independent of the noise in training, so
    that checkpoints with and without F-Noise are evaluated alike. Each image
    has its own noise, see :class:`NoisePerImage`.

    Args:
        cfg: Training config, with the paths of the data.
        checkpoint: Checkpoint file.
        part: ``'val'`` or ``'test'``.
        seed: Seed of the corruptions and the noise.
        images: Number of images to evaluate, from the start. Defaults to None, which is all.

    Raises:
        InputError: If the config, the checkpoint or the data cannot be used.
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
        _add_transforms(self.loader_config.dataset, seed)
        self.loader_config['persistent_workers'] = False  # persistent workers would keep their first corruption

    def _check_data(self, part: str, images: int | None) -> tuple[Path, list[dict[str, Any]]]:
        """Check the data set, restrict it to its first images, and return annotations and images."""
        dataset = self.loader_config.dataset
        if list(innermost_datasets(dataset)) != [dataset] or not is_coco(dataset):
            raise InputError(
                f'{part}_dataloader of {self.cfg.filename} must have one data set in COCO format, as mPC is of '
                f"COCO's AP, but has {type_name(dataset)}"
            )
        check_data(self.cfg, [part])
        ann_file = (Path(dataset.get('data_root') or '') / dataset.ann_file).resolve()
        # mmdet's order of the images is that of the first occurrence of their ids.
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
        """Check the annotated size of every image for corruptions.

        Raises:
            InputError: A side is below 32 pixels.
        """
        for record in self.image_records:
            check_size(record['file_name'], record['width'], record['height'])

    def check_domain(self, folder: Path) -> None:
        """Check the images of another domain.

        Raises:
            InputError: If an image is missing, cannot be read, or has another size than its annotations.
        """
        names = [record['file_name'] for record in self.image_records]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f'{folder} has {len(names) - len(missing)} of {len(names)} images of {self.ann_file}, but not '
                f'{printable(missing[0])}: a domain has the same images under the same names'
            )
        check_image_files(self.image_records, folder)

    def identity(self) -> dict[str, Any]:
        """Return the properties that comparable results share: data, seed, and settings of the config."""
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
        """Build the detector with its weights, and an FNoiseNeck if a preset is given.

        Raises:
            InputError: If the model cannot be built, or the checkpoint does not fit it.
        """
        cfg = copy.deepcopy(self.cfg)
        if preset is not None:
            add_fnoise(cfg, **noise_settings(preset))
        model = check_model(cfg)
        load_weights(model, load_checkpoint(str(self.checkpoint)), str(self.checkpoint))
        return model.to(get_device()).eval()

    def build(self, preset: str | None = None) -> 'RobustnessEvaluator':
        """Build the evaluator of the checkpoint, with the preset of the feature noise, if any.

        Raises:
            InputError: If the model cannot be built, or the checkpoint does not fit it.
        """
        with quiet():
            loader = Runner.build_dataloader(self.loader_config, seed=self.seed)
            metric = METRICS.build(self.metric_config)
        metric.dataset_meta = loader.dataset.metainfo
        metric.img_ids = self.identity()['image_ids']  # other images would count as without detections
        return RobustnessEvaluator(self.load_model(preset), loader, metric, self.seed)


class RobustnessEvaluator:
    """Run several evaluations of a detector, reusing model, data set and metric.

    Args:
        model: Detector in evaluation mode.
        loader: Data loader with a :class:`SeededCorrupt` in the pipeline of its data set.
        metric: Metric of the data set.
        seed: Seed of the feature noise.
    """

    def __init__(self, model: nn.Module, loader: DataLoader, metric: CompleteCocoMetric, seed: int) -> None:
        self.model: Any = model  # test_step is not in torch's types
        self.loader = loader
        self.dataset: Any = loader.dataset
        self.metric = metric
        self.seed = seed
        self._corruption: SeededCorrupt = _find(loader.dataset, SeededCorrupt)
        self._domain: OtherDomain = _find(loader.dataset, OtherDomain)

    def evaluate(
        self, evaluation: Evaluation, predictions: Path, advance: Callable[[int], None] = lambda images: None
    ) -> dict[str, float]:
        """Run one evaluation.

        Args:
            evaluation: Evaluation to run.
            predictions: Folder for the detections, written in COCO's
                results format as ``LABEL.bbox.json`` and ``LABEL.segm.json``.
            advance: Called after each batch with its number of images.

        Returns:
            The metrics, such as ``bbox_mAP``, and ``snr_db`` where features were perturbed.

        Raises:
            InputError: If an image cannot be loaded or corrupted.
        """
        detections = 0
        with self._perturbed(evaluation) as noise:
            for batch in self._batches():
                samples = self._predict(batch, noise)
                self.metric.process(batch, [sample.to_dict() for sample in samples])
                detections += sum(len(sample.pred_instances) for sample in samples)
                advance(len(samples))
        predictions.mkdir(parents=True, exist_ok=True)
        self.metric.outfile_prefix = str(predictions / evaluation.label())
        with quiet():
            metrics = self.metric.evaluate(len(self.dataset))
        if not detections:  # CompleteCocoMetric writes an empty box instead
            for kind in ('bbox', 'segm'):
                Path(f'{self.metric.outfile_prefix}.{kind}.json').unlink(missing_ok=True)
            for kind in self.metric.metrics:
                Path(f'{self.metric.outfile_prefix}.{kind}.json').write_text('[]', encoding='utf-8')
        found = {name.removeprefix('coco/'): float(value) for name, value in metrics.items()}
        snr = noise.snr_db() if noise else None
        return found if snr is None else found | dict(snr_db=snr)

    def expect(self, plan: Sequence[Evaluation]) -> dict[CostGroup, float]:
        """Return the expected seconds per image of evaluations by group.

        Measured on the first batch, as in the last evaluation of each group in the plan, without metrics and the start
        of workers.

        Raises:
            InputError: If an image cannot be loaded or corrupted.
        """
        assert self.loader.batch_sampler is not None, 'as Runner.build_dataloader builds it'
        indices = next(iter(self.loader.batch_sampler))
        workers = max(1, self.loader.num_workers)  # which load images side by side
        predicted: dict[str, float] = {}  # seconds by kind of noise
        expected = {}
        for group, evaluation in {cost_group(one): one for one in plan}.items():
            with self._perturbed(evaluation) as noise:
                start = time.perf_counter()
                batch = self._load(indices)
                loaded = (time.perf_counter() - start) / workers
                kind = group.kind if noise else 'clean'
                if kind not in predicted:
                    for _ in range(1 if predicted else 2):  # the first pass of a model is slower
                        copied = copy.deepcopy(batch)
                        start = time.perf_counter()
                        self._predict(copied, noise)
                        predicted[kind] = time.perf_counter() - start
            expected[group] = (loaded + predicted[kind]) / len(indices)
        return expected

    @contextlib.contextmanager
    def _perturbed(self, evaluation: Evaluation) -> 'Iterator[NoisePerImage | None]':
        """In the block, perturb images and features as in an evaluation."""
        self._corruption.corruption = evaluation.name if evaluation.kind == 'corruption' else None
        self._corruption.severity = evaluation.severity or 1
        self._domain.folder = evaluation.folder
        noise = evaluation.noise(self.seed)
        # Some detectors draw random numbers in inference.
        with torch.random.fork_rng(), torch.no_grad(), noise_in_evaluation(self.model, noise):
            torch.manual_seed(self.seed)
            yield noise

    def _predict(self, batch: Any, noise: 'NoisePerImage | None') -> list[Any]:
        if noise is not None:
            noise.images = [as_number(sample.img_id) for sample in batch['data_samples']]
        samples: list[Any] = self.model.test_step(batch)
        return samples

    def _batches(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            with _image_errors():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _load(self, indices: Sequence[int]) -> Any:
        """Load a batch in this process, without OpenCV's threads, with which workers cannot be forked safely."""
        threads = cv2.getNumThreads()
        cv2.setNumThreads(0)
        try:
            with _image_errors():
                return self.loader.collate_fn([self.dataset[index] for index in indices])
        finally:
            cv2.setNumThreads(threads)


@contextlib.contextmanager
def _image_errors() -> Iterator[None]:
    """Raise errors of the block as an InputError."""
    try:
        yield
    except Exception as error:  # whether OpenCV raises depends on the kind of corruption
        # The text of a worker's error is its stack trace.
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise InputError(f'an image cannot be loaded: {reason[0]}') from error


class NoisePerImage(Noise):
    """Noise that is a function of seed, image and level, independent of the batch.

    Each image is perturbed as a batch of one, even if a preset shares a draw
    over a batch, as ``cct`` does. The shape of a draw depends on the padding,
    so with images of different sizes the batch size must be the same to
    reproduce the noise.
    """

    def __init__(self, noise: Noise, seed: int) -> None:
        super().__init__()
        self.noise = noise
        self.seed = seed
        self.images: list[int] = []  # of the next batch
        self._powers: dict[int, Tensor] = {}  # of features and of noise, by level

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb a level, given by the last number of ``key``.

        Raises:
            ValueError: If the number of features does not match the images.
        """
        if len(x) % len(self.images):
            raise ValueError(f'there must be features of {len(self.images)} images, but got {len(x)}')
        views = len(x) // len(self.images)  # several views per image in some detectors
        y = torch.cat(
            [
                self.noise.perturb(x[i : i + 1], (self.seed, self.images[i // views], i % views, key[-1]))
                for i in range(len(x))
            ]
        )
        self._powers[key[-1]] = self._powers.get(key[-1], 0) + signal_and_noise(x, y)
        return y

    def snr_db(self) -> float | None:
        """Return the signal-to-noise ratio of all images so far in dB, the mean over levels; None without noise."""
        ratios = [signal / noise for signal, noise in map(Tensor.tolist, self._powers.values()) if signal and noise]
        return sum(10 * math.log10(ratio) for ratio in ratios) / len(ratios) if ratios else None


@contextlib.contextmanager
def noise_in_evaluation(model: nn.Module, noise: Noise | None) -> Iterator[None]:
    """Apply noise at its place in a model also in evaluation mode, within the block.

    Args:
        model: Model with such a place, if there is a noise.
        noise: Replaces the noise of the model; None changes nothing.
    """
    layers = find_noise_layers(model) if noise is not None else []
    own = [layer.noise for layer in layers]
    with contextlib.ExitStack() as stack:
        try:
            for layer in layers:
                layer.noise = noise
                stack.enter_context(layer.in_evaluation())
            yield
        finally:
            for layer, noise in zip(layers, own):
                layer.noise = noise


def quiet() -> contextlib.AbstractContextManager:
    """Suppress output of pycocotools and mmengine within the block."""
    return contextlib.redirect_stdout(io.StringIO())


def _coco_metric(cfg: Config, part: str) -> dict[str, Any]:
    """Return the config of a split's COCO metric as CompleteCocoMetric with default output options."""
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


def _add_transforms(dataset: dict[str, Any], seed: int) -> None:
    """Insert a disabled OtherDomain and SeededCorrupt before and after the image loading of a data set's pipeline."""
    pipeline = list(dataset['pipeline'])
    for index, step in enumerate(pipeline):
        kind = type_class(step, TRANSFORMS)
        if kind is not None and issubclass(kind, LoadImageFromFile):
            images = str(Path(dataset.get('data_root') or '') / (dataset.get('data_prefix') or {}).get('img', ''))
            domain = dict(type='OtherDomain', images=images)
            pipeline[index : index + 1] = [domain, step, dict(type='SeededCorrupt', seed=seed)]
            dataset['pipeline'] = pipeline
            return
    raise InputError(
        'the images of this data set cannot be corrupted: its pipeline has no LoadImageFromFile, but '
        f'{", ".join(map(type_name, pipeline))}'
    )


def _find(dataset: Any, kind: type) -> Any:
    return next(step for step in dataset.pipeline.transforms if isinstance(step, kind))


class ResultFile:
    """Results of a checkpoint on disk, to which missing evaluations are added.

    Args:
        work_dir: Parent folder of ``robustness/``.
        setup: Setup of the evaluation.
        force: Whether to discard existing results.

    Raises:
        InputError: If there are results of other data, another seed or other
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

        def parse(content: Any) -> tuple[list[str], list[dict[str, Any]], Any]:
            differing = [words for name, words in IDENTITY.items() if content[name] != self.header[name]]
            require(all(isinstance(one, dict) for one in content['results']), 'results must be objects')
            return differing, list(content['results']), content['checkpoint_sha256']

        differing, results, trained = read_json(self.path, 'is not a file of this tool: --force replaces it', parse)
        if differing:
            raise InputError(f'{self.path} has results of other {", ".join(differing)}: --force replaces them')
        if trained == self.header['checkpoint_sha256']:
            self.results = results
        else:
            self.note = 'the existing results are of another checkpoint and are replaced'

    def missing(self, plan: Sequence[Evaluation]) -> list[Evaluation]:
        """Return the missing evaluations of a plan."""
        return [one for one in plan if not any(one.settings().items() <= result.items() for result in self.results)]

    def start(self) -> None:
        """Remove existing results unless they are kept, so that results never refer to other detections."""
        if not self.results:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.predictions, ignore_errors=True)

    def add(self, evaluation: Evaluation, metrics: dict[str, float]) -> None:
        """Add a result, and write all results atomically."""
        result = {**evaluation.settings(), 'metrics': metrics, 'predictions': evaluation.label()}
        self.results.append(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps({**self.header, 'results': self.results}).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
