"""Precision of each class: its AP, and the curve of precision against recall."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .average_precision import AP50, RECALLS, evaluate_detections
from .charts import Chart, ChartGroup, Line
from .conditions import Condition
from .numbers import number
from .resampling import Progress, ann_file_of
from .table import Table

KINDS = dict(segm='mask', bbox='box')


class ClassPrecision(NamedTuple):
    """Precision of a run on its validation images, of the K classes that have objects.

    ``objects`` (K,) are their numbers, ``precision`` (K, 101) is the
    interpolated precision at the recalls 0, 0.01, ..., 1 and an IoU of 0.5, and
    ``ap`` (K,) the AP over the IoU thresholds 0.50 to 0.95.
    """

    names: list[str]
    objects: np.ndarray
    precision: np.ndarray
    ap: np.ndarray


# kind -> condition -> one of each run
Classes = dict[str, dict[str, list[ClassPrecision]]]


def class_precision(ann_file: Path, results: Path, kind: str) -> ClassPrecision:
    """Evaluate detections by class, as COCO does.

    Args:
        ann_file: Annotations in COCO format.
        results: Detections in COCO's results format.
        kind: ``'bbox'`` or ``'segm'``.
    """
    evaluation = evaluate_detections(ann_file, results, kind)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports to the terminal
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]  # IoU, recall, class; -1 of a class without objects
    present = np.flatnonzero(precision[AP50, 0] >= 0)
    truth = evaluation.cocoGt
    categories = [evaluation.params.catIds[place] for place in present]
    return ClassPrecision(
        [truth.cats[category]['name'] for category in categories],
        np.array([len(truth.getAnnIds(catIds=[category], iscrowd=False)) for category in categories]),
        precision[AP50][:, present].T,
        precision[:, :, present].mean(axis=(0, 1)),
    )


def read_classes(conditions: Sequence[Condition], progress: Progress) -> Classes:
    """Evaluate the last detections of every run by class, where its annotations are found."""
    found: Classes = {kind: {} for kind in KINDS}
    runs = [(one.name, run) for one in conditions for run in one.runs]
    for name, run in progress(runs, 'precision of each class'):
        ann_file = ann_file_of(run)
        for kind in KINDS:
            results = run.predictions(kind)
            if ann_file is not None and results is not None:
                found[kind].setdefault(name, []).append(class_precision(ann_file, results, kind))
    return {kind: of_conditions for kind, of_conditions in found.items() if of_conditions}


def precision_group(conditions: Sequence[Condition], classes: Classes) -> ChartGroup | None:
    """Return the curves of precision against recall, mean over classes; mean and extremes over seeds."""
    charts = []
    for kind, of_conditions in classes.items():
        lines = []
        for place, condition in enumerate(conditions):
            if condition.name in of_conditions:
                curves = np.array([one.precision.mean(axis=0) for one in of_conditions[condition.name]])
                mean, low, high = (
                    some.tolist() for some in (curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0))
                )
                lines.append(Line(condition.name, place, RECALLS.tolist(), mean, low, high))
        charts.append(Chart(f'{KINDS[kind]} precision', 'recall', f'{KINDS[kind]} precision', lines))
    note = (
        'At an IoU of 0.5, mean over classes, on the images of the last validation; its mean over recalls is the AP50.'
    )
    return ChartGroup('precision', 'Precision against recall', note, [charts]) if charts else None


def class_tables(conditions: Sequence[str], classes: Classes) -> list[tuple[str, Table]]:
    """Return the AP of each class, mean over seeds, as a table per kind; the most frequent class comes first."""
    tables = []
    for kind, of_conditions in classes.items():
        names = [name for name in conditions if name in of_conditions]
        first = of_conditions[names[0]][0]
        means = [np.mean([one.ap for one in of_conditions[name]], axis=0) for name in names]
        heads = ['class', 'objects', *names, *([f'{names[1]} − {names[0]}'] if len(names) == 2 else [])]
        rows = []
        for place in np.argsort(-first.objects, kind='stable'):
            values = [mean[place] for mean in means]
            difference = [number(values[1] - values[0], signed=True)] if len(names) == 2 else []
            cells = [first.names[place], str(first.objects[place]), *map(number, values), *difference]
            rows.append(cells)
        tables.append((KINDS[kind], Table.of(heads, rows)))
    return tables
