"""Bootstrap of the AP over validation images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .average_precision import average_precision, draw_resamples, match_detections
from .conditions import Condition
from .measures import AP_METRICS, common_cells, common_domains, common_scales
from .robustness import Cell, Robustness
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

    cells = common_cells([run for _, _, run in runs])
    scales = common_scales([run for _, _, run in runs])
    domains = common_domains([run for _, _, run in runs])
    tested = [(name, seed, run.robustness) for name, seed, run in runs if run.robustness]
    if tested and Path(tested[0][2].ann_file).is_file():
        for name, seed, robustness in progress(tested, 'resampling the corrupted images'):
            for key, values in _robust_draws(robustness, cells, scales, domains):
                draws[name, seed, key] = values
    return draws


def _robust_draws(
    robustness: Robustness, cells: Sequence[Cell], scales: Sequence[float], domains: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield mPC, rPC and the mean AP with perturbed features and on other domains, one value per resample."""
    for metric in robustness.metric_names():
        kind = metric.partition('_')[0]
        clean: list[np.ndarray] = []
        corrupted: list[np.ndarray] = []
        perturbed: list[np.ndarray] = []
        of_domains: list[np.ndarray] = []
        for result in robustness.results:
            if result['kind'] == 'clean':
                chosen = clean
            elif result['kind'] == 'corruption' and (result['name'], result['severity']) in cells:
                chosen = corrupted
            elif result['kind'] == 'feature_noise' and result['preset'] == 'cct' and result['scale'] in scales:
                chosen = perturbed
            elif result['kind'] == 'domain' and result['name'] in domains:
                chosen = of_domains
            else:
                continue
            file = robustness.predictions(result, kind)
            of_images = (
                _resample(Path(robustness.ann_file), file, kind, robustness.image_ids) if file.is_file() else None
            )
            if of_images is None:
                break
            chosen.append(of_images[:, 0])
        else:
            if corrupted:
                mpc = np.mean(corrupted, axis=0)
                yield f'{metric}/mPC', mpc
                with np.errstate(divide='ignore', invalid='ignore'):
                    yield f'{metric}/rPC', mpc / clean[0]
            if perturbed:
                yield f'{metric}/noise', np.mean(perturbed, axis=0)
            if of_domains:
                yield f'{metric}/domains', np.mean(of_domains, axis=0)


def _resample(ann_file: Path, results: Path, kind: str, image_ids: Sequence[int] | None) -> np.ndarray | None:
    tables = match_detections(ann_file, results, kind, image_ids)
    return average_precision(tables, draw_resamples(len(tables[0].objects), RESAMPLES)) if tables else None


def ann_file_of(run: Run) -> Path | None:
    """Return the annotation file of a run's validation set, None if it is unknown or not found."""
    named = ((run.record.get('data') or {}).get('val') or {}).get('ann_file')
    return Path(named) if named and Path(named).is_file() else None
