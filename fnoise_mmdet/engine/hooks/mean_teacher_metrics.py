"""Hook that logs the AP of the student and the quality of pseudo-labels."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmdet.models import SemiBaseDetector
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from pycocotools.coco import COCO

from ...config import annotation_file, evaluators, innermost_datasets
from ...datasets.ground_truth import read_ground_truth
from ...errors import InputError
from ...visualization.detections import Detection
from ...visualization.outcomes import MISSED, TRUE_POSITIVE, annotated_objects, mark_outcomes
from ..distributed import unwrapped
from .training_ap import evaluate_again, load_like_validation
from .validation_loss import own_randomness


@HOOKS.register_module()
class MeanTeacherMetricsHook(Hook):
    """Log the AP of the student and the quality of pseudo-labels after every validation.

    In a training with a :class:`~fnoise_mmdet.FNoiseTeacher` or another
    semi-supervised detector of mmdet, whose validation evaluates the teacher:

    - ``student_bbox_mAP`` and so on: metrics of the student on the same images;
    - ``pseudo_precision``: share of the pseudo-labels that are objects of their
      class with a box IoU of at least 0.5;
    - ``pseudo_recall``: share of the objects that have such a pseudo-label.

    The last two need annotations in the file of the unlabelled images, which
    the training does not use. They are omitted where there are none, and the
    precision where there is no pseudo-label. If no unlabelled image had a
    pseudo-label since the last validation, a warning says what to do. If the
    metrics cannot be computed, a warning is logged instead.

    Args:
        images: Number of unlabelled images, the first ones. Defaults to 64.

    Raises:
        ValueError: If the number of images is not positive.
    """

    priority = 'HIGHEST'  # before the logger reads the metrics

    def __init__(self, images: int = 64) -> None:
        if images < 1:
            raise ValueError(f'images must be >= 1, but got {images}')
        self.images = images
        self._hidden: tuple[Any, COCO] | None = None
        self._pseudo_labels: list[float] = []  # per image, since the last validation

    def before_train(self, runner: Runner) -> None:
        """Read the hidden ground truth of the unlabelled images.

        Raises:
            InputError: If the model has no teacher whose detections are pseudo-labels.
        """
        model = unwrapped(runner.model)
        if not isinstance(model, SemiBaseDetector) or 'cls_pseudo_thr' not in model.semi_train_cfg:
            raise InputError(
                'MeanTeacherMetricsHook needs a semi-supervised detector with cls_pseudo_thr in its semi_train_cfg, '
                f'but the model is {type(model).__name__}: remove the hook from custom_hooks, or train with --semi'
            )
        if runner.val_loop is None:  # nothing is evaluated
            return
        source = list(innermost_datasets(runner.cfg.train_dataloader.dataset))[-1]
        truth = read_ground_truth(Path(annotation_file(source)))
        if truth.anns:
            try:
                settings = load_like_validation(runner.cfg, source, self.images)
            except InputError as error:
                runner.logger.warning(f'no precision and recall of pseudo-labels: {error}')
                return
            (dataset,) = innermost_datasets(settings['dataset'])
            dataset['filter_cfg'] = dict(filter_empty_gt=False)
            self._hidden = runner.build_dataloader(settings, seed=0), truth

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Count the pseudo-labels."""
        if outputs and 'pseudo_labels' in outputs:
            self._pseudo_labels.append(float(outputs['pseudo_labels']))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the metrics to those of this validation."""
        if metrics is None:
            return
        model = unwrapped(runner.model)
        threshold = model.semi_train_cfg.cls_pseudo_thr
        if self._pseudo_labels and not any(self._pseudo_labels):
            runner.logger.warning(
                f'no unlabelled image had a pseudo-label in the last {len(self._pseudo_labels)} iterations, so '
                f'their loss was 0: no detection of the teacher has a score above {threshold} '
                '(cls_pseudo_thr). Start from a checkpoint of supervised training with --cfg-options load_from=FILE, '
                'or lower the threshold'
            )
        self._pseudo_labels.clear()
        try:
            with own_randomness(seed=0):
                metrics.update(self._evaluate(runner, model, threshold))
        except Exception as error:  # a diagnostic must not stop a training
            runner.logger.warning(f'no metrics of student and pseudo-labels: {type(error).__name__}: {error}')

    def _evaluate(self, runner: Runner, model: Any, threshold: float) -> dict[str, float]:
        with _predictions_of_the_student(model):
            found = evaluate_again(runner, runner.val_dataloader, evaluators(runner.cfg, 'val'))
        metrics = {f'student_{name}': value for name, value in found.items()}
        if self._hidden:
            loader, truth = self._hidden
            metrics.update(pseudo_label_quality(runner.model, loader, truth, threshold))
        return metrics


@torch.no_grad()
def pseudo_label_quality(model: Any, loader: Any, truth: COCO, score_thr: float) -> dict[str, float]:
    """Return precision and recall of the detections above a threshold, where they are defined.

    Args:
        model: Detector in evaluation mode, or its distributed wrapper.
        loader: Data loader of the images.
        truth: Their annotations.
        score_thr: Detections with a higher score are pseudo-labels.
    """
    classes = loader.dataset.metainfo['classes']
    hits = labels = total = 0
    for batch in loader:
        for sample in model.val_step(batch):
            found = sample.pred_instances[sample.pred_instances.scores > score_thr]
            detections = [
                Detection(box, classes[label], score)
                for box, label, score in zip(found.bboxes.tolist(), found.labels.tolist(), found.scores.tolist())
            ]
            objects, crowds = (
                [one for one in some if one.label in classes]
                for some in annotated_objects(truth, sample.img_id, masks=False)
            )
            marked = mark_outcomes(objects, detections, crowds=crowds)
            outcomes = [one.outcome for one in marked if one.outcome != MISSED]
            hits += outcomes.count(TRUE_POSITIVE)
            labels += len(outcomes)
            total += len(objects)
    counts = torch.tensor([hits, labels, total], dtype=torch.float64)
    all_reduce(counts)
    shares = dict(pseudo_precision=counts[0] / counts[1], pseudo_recall=counts[0] / counts[2])
    return {name: float(value) for name, value in shares.items() if value.isfinite()}


@contextlib.contextmanager
def _predictions_of_the_student(model: Any) -> Iterator[None]:
    before = model.semi_test_cfg.get('predict_on', 'teacher')
    model.semi_test_cfg['predict_on'] = 'student'
    try:
        yield
    finally:
        model.semi_test_cfg['predict_on'] = before
