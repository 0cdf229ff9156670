"""Measures that are compared: AP, losses, robustness, time and memory of every run."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np

from .conditions import Condition
from .robustness import Cell, Robustness
from .runs import STREAMS, Run, split_stream

HIGHER, LOWER = 'higher', 'lower'
MARGIN = 0.01  # of AP and other shares: differences below it make no difference in practice
LEAST = 2 * MARGIN  # mean below which a model that detects nothing would be equivalent
# COCO metric -> label, IoU type, and column in the result of average_precision.
AP_METRICS = {
    'coco/segm_mAP': ('mask AP', 'segm', 0),
    'coco/segm_mAP_50': ('mask AP50', 'segm', 1),
    'coco/bbox_mAP': ('box AP', 'bbox', 0),
    'coco/bbox_mAP_50': ('box AP50', 'bbox', 1),
}
# Of TrainingAPHook. There is no preferred direction: noise that prevents overfitting may lower it.
TRAIN_AP = {key.replace('coco/', 'train_'): f'{label}, training images' for key, (label, _, _) in AP_METRICS.items()}
PSEUDO_LABELS = dict(pseudo_precision='precision of pseudo-labels', pseudo_recall='recall of pseudo-labels')
SNR_DB = 'snr_db/deployment '  # prefix of the measure of each perturbation by hardware
ROBUST_METRICS = {'segm_mAP': 'mask', 'bbox_mAP': 'box'}
# Measures of a study, in the order of its page. Time and memory depend on the machine and are left to the benchmarks.
STUDY_MEASURES = (
    *AP_METRICS,
    *TRAIN_AP,
    'val_loss',
    'loss',
    *(
        f'{metric}/{figure}'
        for figure in ('mPC', 'rPC', 'noise', 'domains', 'deployment', 'deployment_kept')
        for metric in ROBUST_METRICS
    ),
)


class Measure(NamedTuple):
    """One value per run, by condition and seed.

    ``better`` is the preferred direction: higher, lower, or empty. The training
    loss has none, since noise raises it without making the model worse.
    Measures with ``is_component``, such as single terms of the loss, are listed last.
    """

    key: str
    label: str
    better: str
    values: dict[str, dict[int, float]]
    is_component: bool = False

    def mean(self, condition: str) -> float | None:
        """Return the mean over the seeds of a condition, None where it has none; NaN where a run has NaN."""
        values = list(self.values.get(condition, {}).values())
        return float(np.mean(values)) if values else None

    def deviation(self, condition: str) -> float | None:
        """Return the standard deviation over the seeds of a condition, None for fewer than two."""
        values = list(self.values.get(condition, {}).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def margin(self) -> float | None:
        """Margin of equivalence, None for a measure that is no AP or other share in [0, 1].

        None, too, where no condition has a mean of at least :data:`LEAST`.
        """
        values = [value for of_seeds in self.values.values() for value in of_seeds.values()]
        if self.better != HIGHER or any(value > 1 for value in values):
            return None
        means = [mean for name in self.values if (mean := self.mean(name)) is not None]
        return None if max(means, default=0) < LEAST else MARGIN

    @property
    def decimals(self) -> int:
        """Decimals with which values are shown: none for memory."""
        return 0 if self.key == 'memory' else 3


def collect_measures(conditions: Sequence[Condition], losses: Sequence[str]) -> Iterator[Measure]:
    """Yield every measure that the runs of the conditions have, the most informative first."""

    def collect(
        key: str, label: str, better: str, get: Callable[[Run], float | None], is_component: bool = False
    ) -> Iterator[Measure]:
        found = {one.name: {seed: get(run) for seed, run in one.by_seed().items()} for one in conditions}
        values = {
            name: {seed: float(value) for seed, value in of_seeds.items() if value is not None}
            for name, of_seeds in found.items()
        }
        if any(values.values()):
            yield Measure(key, label, better, values, is_component)

    def last_validation(key: str) -> Callable[[Run], float | None]:
        return lambda run: run.val[-1].get(key) if run.val else None

    def last_ap(key: str) -> Callable[[Run], float | None]:
        def get(run: Run) -> float | None:
            value = last_validation(key)(run)
            return None if value == -1 else value  # mmdet's value for an undefined AP

        return get

    def robust(get: Callable[[Robustness], float | None]) -> Callable[[Run], float | None]:
        return lambda run: get(run.robustness) if run.robustness else None

    runs = [run for condition in conditions for run in condition.runs]
    validated = {key for run in runs for row in run.val for key in row}
    for key, (label, _, _) in AP_METRICS.items():
        yield from collect(key, label, HIGHER, last_ap(key))
    for key, label in TRAIN_AP.items():
        yield from collect(key, label, '', last_ap(key))
    for key, (label, _, _) in AP_METRICS.items():  # of MeanTeacherMetricsHook, as the shares of pseudo-labels
        key = key.replace('coco/', 'student_')
        yield from collect(key, f'{label}, student', HIGHER, last_ap(key))
    for key, label in PSEUDO_LABELS.items():
        yield from collect(key, label, HIGHER, last_validation(key))
    if not validated & AP_METRICS.keys():  # metric of another data set
        others = {key for key in validated if '/' in key and key != 'coco/objects'}  # see CompleteCocoMetric
        for key in sorted(others, key=lambda key: ('AP' not in key, key)):
            yield from collect(key, key, better_direction(key), last_ap(key))
    yield from collect('val_loss', 'validation loss', LOWER, last_validation('val_loss'))
    yield from collect('loss', 'training loss', '', methodcaller('last_epoch_loss', 'loss'))
    for stream, label in STREAMS.items():
        terms = [loss for loss in losses if split_stream(loss)[0] == stream]
        if terms:
            yield from collect(f'{stream}_loss', f'training loss, {label}', '', partial(_last_sum, losses=terms))

    cells, scales, domains, deployments = Common.of(runs)
    for metric, label in ROBUST_METRICS.items():
        yield from collect(f'{metric}/mPC', f'{label} mPC', HIGHER, robust(methodcaller('mpc', metric, cells)))
        yield from collect(f'{metric}/rPC', f'{label} rPC', HIGHER, robust(methodcaller('rpc', metric, cells)))
        yield from collect(
            f'{metric}/noise',
            f'{label} AP, features perturbed',
            HIGHER,
            robust(partial(mean_over_scales, metric=metric, scales=scales)),
        )
        of_domains = robust(partial(_mean_over, get=Robustness.by_domain, metric=metric, names=domains))
        yield from collect(f'{metric}/domains', f'{label} AP, other domains', HIGHER, of_domains)
        on_hardware = robust(partial(_mean_over, get=Robustness.by_deployment, metric=metric, names=deployments))
        yield from collect(f'{metric}/deployment', f'{label} AP, features as on hardware', HIGHER, on_hardware)
        kept = robust(partial(_kept, metric=metric, names=deployments))
        yield from collect(f'{metric}/deployment_kept', f'share of {label} AP kept as on hardware', HIGHER, kept)
    yield from collect('time', 'seconds per iteration', '', Run.seconds_per_iteration)
    yield from collect('memory', 'peak memory, MiB', '', Run.memory_mib)

    for loss in losses:
        if loss != 'loss':
            stream, name = split_stream(loss)
            part, of_stream = name.removeprefix('loss_'), f', {STREAMS[stream]}' if stream else ''
            if stream in ('', 'sup'):
                val = f'val_{name}'
                yield from collect(val, f'validation loss: {part}', LOWER, last_validation(val), True)
            of_last = methodcaller('last_epoch_loss', loss)
            yield from collect(loss, f'training loss{of_stream}: {part}', '', of_last, True)
    for metric, label in ROBUST_METRICS.items():
        for name in dict.fromkeys(name for name, _ in cells):
            of_name = robust(partial(_under, metric=metric, name=name, cells=cells))
            yield from collect(f'{metric}/{name}', f'{label} AP: {name.replace("_", " ")}', HIGHER, of_name, True)
        for kind, get, names in (
            ('domain', Robustness.by_domain, domains),
            ('deployment', Robustness.by_deployment, deployments),
        ):
            for name in names:
                of_name = robust(partial(_mean_over, get=get, metric=metric, names=[name]))
                yield from collect(f'{metric}/{kind} {name}', f'{label} AP, {kind} {name}', HIGHER, of_name, True)
        for name in deployments:
            kept = robust(partial(_kept, metric=metric, names=[name]))
            label_of_name = f'share of {label} AP kept, deployment {name}'
            yield from collect(f'{metric}/deployment_kept {name}', label_of_name, HIGHER, kept, True)
    for name in deployments:
        ratio = robust(partial(_snr_db, name=name))
        yield from collect(f'{SNR_DB}{name}', f'signal-to-noise ratio in dB, deployment {name}', '', ratio, True)


def better_direction(metric: str) -> str:
    """Return the preferred direction of a metric by its name in mmdet, empty if it is unknown."""
    name = metric.rpartition('/')[2]
    if 'mMR' in name:  # log-average miss rate of CrowdHuman
        return LOWER
    return HIGHER if re.search('AP|AR|PQ|JI|IoU|Recall|Precision|Acc|Dice|F1|HOTA|MOTA', name) else ''


class Common(NamedTuple):
    """Evaluations of the robustness that all runs with any share, each once: corruptions and severities, scales of
    F-Noise in the features, other domains, and perturbations by hardware.
    """

    cells: list[Cell]
    scales: list[float]
    domains: list[str]
    deployments: list[str]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> 'Common':
        """Return the evaluations that the runs share."""
        found = [run.robustness for run in runs if run.robustness]
        getters = (Robustness.cells, Robustness.scales, Robustness.domains, Robustness.deployments)
        return cls(*(_in_all([get(one) for one in found]) for get in getters))


def _in_all(found: Sequence[list[Any]]) -> list[Any]:
    return [name for name in dict.fromkeys(found[0]) if all(name in names for names in found)] if found else []


def mean_over_scales(found: Robustness, metric: str, scales: Sequence[float]) -> float | None:
    """Return the mean AP over scales of feature noise, None if one of them is missing."""
    return _mean_over(found, Robustness.by_scale, metric, scales)


def _mean_over(
    found: Robustness, get: Callable[[Robustness, str], dict[Any, float]], metric: str, names: Sequence[Any]
) -> float | None:
    values = get(found, metric)
    return float(np.mean([values[name] for name in names])) if names and set(names) <= values.keys() else None


def _kept(found: Robustness, metric: str, names: Sequence[str]) -> float | None:
    """Return the mean AP under perturbations by hardware as a share of the clean AP, None if one is missing or it is 0.

    As the relative performance under corruption (rPC), it tells robustness from accuracy.
    """
    mean, clean = _mean_over(found, Robustness.by_deployment, metric, names), found.clean(metric)
    return mean / clean if mean is not None and clean else None


def _under(found: Robustness, metric: str, name: str, cells: Sequence[Cell]) -> float | None:
    return found.by_corruption(metric, cells).get(name)


def _snr_db(found: Robustness, name: str) -> float | None:
    return found.snr_db().get(name)


def _last_sum(run: Run, losses: Sequence[str]) -> float | None:
    values = [value for loss in losses if (value := run.last_epoch_loss(loss)) is not None]
    return sum(values) if values else None
