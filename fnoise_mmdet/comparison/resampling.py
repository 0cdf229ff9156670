"""Bootstrap of the AP over validation images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .average_precision import average_precision, draw_resamples, match_detections
from .conditions import Condition
from .measures import AP_METRICS, Common
from .robustness import Robustness, deployment_name
from .runs import Run

RESAMPLES = 1000
Progress = Callable[[Iterable[Any], str], Iterable[Any]]
# (condition, seed, key of the measure) -> one value per resample, (RESAMPLES,).
Draws = dict[tuple[str, int, str], np.ndarray]


def resample_images(conditions: Sequence[Condition], progress: Progress) -> Draws:
    """Return the AP of every run on the same resamples of the images, computed from its saved detections."""
    runs = [(one.name, seed, run) for one in conditions for seed, run in one.by_seed().items()]
    draws: Draws = {}
    for name, seed, run in progress(runs, 'resampling the validation images'):
        ann_file = ann_file_of(run)
        for kind in ('segm', 'bbox'):
            results = run.predictions(kind)
            if ann_file is None or results is None:
                continue
            of_images = _resample(ann_file, results, kind, None)
            for key, (_, of_kind, column) in AP_METRICS.items():
                if of_kind == kind and of_images is not None:
                    draws[name, seed, key] = of_images[:, column]

    common = Common.of([run for _, _, run in runs])
    tested = [(name, seed, run.robustness) for name, seed, run in runs if run.robustness]
    if tested and Path(tested[0][2].ann_file).is_file():
        for name, seed, robustness in progress(tested, 'resampling the corrupted images'):
            for key, values in _robust_draws(robustness, common):
                draws[name, seed, key] = values
    return draws


def _robust_draws(robustness: Robustness, common: Common) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the measures of the robustness, means over what all runs have in common, one value per resample."""
    for metric in robustness.metric_names():
        kind = metric.partition('_')[0]
        found: dict[str, list[np.ndarray]] = {}
        for result in robustness.results:
            figure = _figure(result, common)
            if figure is None:
                continue
            file = robustness.predictions(result, kind)
            of_images = (
                _resample(Path(robustness.ann_file), file, kind, robustness.image_ids) if file.is_file() else None
            )
            if of_images is None:
                break
            found.setdefault(figure, []).append(of_images[:, 0])
        else:
            means = {figure: np.mean(values, axis=0) for figure, values in found.items()}
            clean = means.pop('clean', None)
            for share, figure in (('rPC', 'mPC'), ('deployment_kept', 'deployment')):
                if clean is not None and figure in means:
                    with np.errstate(divide='ignore', invalid='ignore'):
                        means[share] = means[figure] / clean
            yield from ((f'{metric}/{figure}', values) for figure, values in means.items())


def _figure(result: dict[str, Any], common: Common) -> str | None:
    """Return the measure to which an evaluation contributes, None if it contributes to none."""
    kind, name = result['kind'], result.get('name')
    if kind == 'clean':
        return 'clean'
    if kind == 'corruption' and (name, result['severity']) in common.cells:
        return 'mPC'
    if kind == 'feature_noise' and result['preset'] == 'cct' and result['scale'] in common.scales:
        return 'noise'
    if kind == 'domain' and name in common.domains:
        return 'domains'
    if kind == 'deployment' and deployment_name(result) in common.deployments:
        return 'deployment'
    return None


def _resample(ann_file: Path, results: Path, kind: str, image_ids: Sequence[int] | None) -> np.ndarray | None:
    tables = match_detections(ann_file, results, kind, image_ids)
    return average_precision(tables, draw_resamples(len(tables[0].objects), RESAMPLES)) if tables else None


def ann_file_of(run: Run) -> Path | None:
    """Return the annotation file of a run's validation set, None if it is unknown or not found."""
    named = ((run.record.get('data') or {}).get('val') or {}).get('ann_file')
    return Path(named) if named and Path(named).is_file() else None
