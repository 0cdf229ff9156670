"""Results of a robustness evaluation under corruptions and feature noise."""

import math
from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..cli.parser import command_for
from ..datasets.files import is_number, read_json, require

FOLDER = 'robustness'  # within a work dir
FILE = 'robustness.json'
# Required settings of each kind of result.
SETTINGS: dict[str, dict[str, Any]] = dict(
    clean={},
    corruption=dict(name=str, severity=int),
    feature_noise=dict(preset=str, scale=int | float),
    deployment=dict(name=str),
    domain=dict(name=str),
)
Cell = tuple[str, int]  # a corruption and its severity
Key = TypeVar('Key', bound=Hashable)


class Robustness(NamedTuple):
    """The evaluations of one checkpoint, as ``tools/robustness.py`` wrote them.

    AP is in [0, 1], under the names of mmdet's metric such as ``bbox_mAP`` and
    ``segm_mAP_50``. Only evaluations that were run count; undefined values are absent, or −1 as in COCO.

    Attributes:
        name: Name of the work dir.
        folder: Folder of the evaluations.
        checkpoint: Checkpoint that was evaluated.
        ann_file: Absolute path of the annotations.
        image_ids: Ids of the evaluated images, all or some of ``ann_file``.
        seed: Seed of the corruptions and the feature noise.
        results: One dict per evaluation: ``kind`` is ``'clean'``, ``'corruption'``
            (with ``name``, ``severity``), ``'feature_noise'`` (with ``preset``,
            ``scale``), ``'deployment'`` (with ``name``, and ``scale`` of analog
            noise) or ``'domain'`` (with ``name``, and ``folder`` of the images);
            ``metrics`` its figures; ``predictions`` names its detections, see
            :meth:`predictions`.
    """

    name: str
    folder: Path
    checkpoint: str
    ann_file: str
    image_ids: list[int]
    seed: int
    results: list[dict[str, Any]]

    def metric_names(self) -> list[str]:
        """Return the names of the AP over all IoU thresholds, masks first: ``segm_mAP``, ``bbox_mAP``."""
        names = {name for result in self.results for name in result['metrics']}
        return [name for name in ('segm_mAP', 'bbox_mAP') if name in names]

    def predictions(self, result: dict[str, Any], kind: str) -> Path:
        """Return the file with the detections of an evaluation in COCO's results format; kind: ``bbox`` or ``segm``."""
        return self.folder / 'predictions' / f'{result["predictions"]}.{kind}.json'

    def clean(self, metric: str) -> float | None:
        """Return the AP on the clean images."""
        values = self._by(lambda result: 0, 'clean', metric)
        return values.get(0)

    def cells(self) -> list[Cell]:
        """Return the corruptions and severities that were run, in order."""
        return [(r['name'], r['severity']) for r in self.results if r['kind'] == 'corruption']

    def scales(self) -> list[float]:
        """Return the scales > 0 of F-Noise (``cct``) in the features that were run."""
        return sorted(
            r['scale'] for r in self.results if r['kind'] == 'feature_noise' and r['preset'] == 'cct' and r['scale'] > 0
        )

    def domains(self) -> list[str]:
        """Return the other domains that were run, in order."""
        return [r['name'] for r in self.results if r['kind'] == 'domain']

    def deployments(self) -> list[str]:
        """Return the perturbations by hardware that were run, in order, with the scale of analog noise."""
        return [deployment_name(r) for r in self.results if r['kind'] == 'deployment']

    def corrupted(self, metric: str, cells: Collection[Cell] | None = None) -> dict[Cell, float]:
        """Return the AP under each corruption and severity.

        Args:
            metric: Name of an AP, e.g. ``'bbox_mAP'``.
            cells: Corruptions and severities to return. Defaults to None, which is all.
        """
        values = self._by(lambda result: (result['name'], result['severity']), 'corruption', metric)
        return {cell: value for cell, value in values.items() if cells is None or cell in cells}

    def mpc(self, metric: str, cells: Collection[Cell] | None = None) -> float | None:
        """Return the mean performance under corruption: the mean of the AP over the corruptions and severities run.

        With all 15 corruptions at all 5 severities this is the mPC of Michaelis et al.,
        "Benchmarking Robustness in Object Detection", arXiv 1907.07484,
        equation 1. Compare detectors over the same ``cells`` only.
        """
        return _mean(self.corrupted(metric, cells).values())

    def rpc(self, metric: str, cells: Collection[Cell] | None = None) -> float | None:
        """Return the relative performance under corruption, mPC / clean AP (ibid., equation 2); None if that is 0."""
        mpc, clean = self.mpc(metric, cells), self.clean(metric)
        return mpc / clean if mpc is not None and clean else None

    def by_corruption(self, metric: str, cells: Collection[Cell] | None = None) -> dict[str, float]:
        """Return the mean AP of each corruption over its severities."""
        return _means(self.corrupted(metric, cells), lambda cell: cell[0])

    def by_severity(self, metric: str, cells: Collection[Cell] | None = None) -> dict[int, float]:
        """Return the mean AP of each severity over its corruptions, in the order of severity."""
        means = _means(self.corrupted(metric, cells), lambda cell: cell[1])
        return dict(sorted(means.items()))

    def by_domain(self, metric: str) -> dict[str, float]:
        """Return the AP on the images of each other domain."""
        return self._by(lambda result: result['name'], 'domain', metric)

    def by_scale(self, metric: str, preset: str = 'cct') -> dict[float, float]:
        """Return the AP at each scale of a feature noise, sorted by scale; scale 0 is the clean AP."""
        results = [r for r in self.results if r['kind'] != 'feature_noise' or r['preset'] == preset]
        values = self._replace(results=results)._by(lambda result: result['scale'], 'feature_noise', metric)
        clean = self.clean(metric)
        if clean is not None:
            values[0.0] = clean
        return dict(sorted(values.items()))

    def by_deployment(self, metric: str) -> dict[str, float]:
        """Return the AP under each perturbation by hardware."""
        return self._by(deployment_name, 'deployment', metric)

    def snr_db(self) -> dict[str, float]:
        """Return the signal-to-noise ratio of the features in dB under each perturbation by hardware.

        Those that changed no feature are omitted.
        """
        return self._by(deployment_name, 'deployment', 'snr_db', least=-math.inf)

    def against_snr(self, metric: str) -> dict[str, tuple[float, float]]:
        """Return signal-to-noise ratio of the features in dB and AP of each perturbation by hardware, best ratio first.

        Those that changed no feature are omitted.
        """
        values, ratios = self.by_deployment(metric), self.snr_db()
        found = {name: (ratios[name], value) for name, value in values.items() if name in ratios}
        return dict(sorted(found.items(), key=lambda item: -item[1][0]))

    def _by(self, key: Callable[[dict[str, Any]], Key], kind: str, metric: str, least: float = 0) -> dict[Key, float]:
        """Return a metric of all results of one kind, except undefined APs, which COCO marks by -1."""
        return {
            key(result): result['metrics'][metric]
            for result in self.results
            if result['kind'] == kind and metric in result['metrics'] and result['metrics'][metric] >= least
        }


def deployment_name(result: dict[str, Any]) -> str:
    """Return name and scale of a perturbation by hardware."""
    return ' '.join([result['name'], *([f'{result["scale"]:g}'] if 'scale' in result else [])])


def _mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _means(values: dict[Cell, float], key: Callable[[Cell], Key]) -> dict[Key, float]:
    groups: dict[Key, list[float]] = {}
    for cell, value in values.items():
        groups.setdefault(key(cell), []).append(value)
    return {name: sum(group) / len(group) for name, group in groups.items()}


def read_robustness(work_dir: Path) -> Robustness | None:
    """Read the results of ``tools/robustness.py`` from a work dir, None if there are none.

    Raises:
        InputError: If the file was not written by that tool.
    """
    folder = Path(work_dir) / FOLDER
    path = folder / FILE
    if not path.is_file():
        return None
    fields = read_json(path, f'is not a file of {command_for("robustness")}, remove it and rerun the command', _fields)
    return Robustness(Path(work_dir).resolve().name, folder, **fields)


def _fields(content: Any) -> dict[str, Any]:
    fields = {name: content[name] for name in ('checkpoint', 'ann_file', 'image_ids', 'seed', 'results')}
    require(isinstance(fields['ann_file'], str) and isinstance(fields['checkpoint'], str), 'a path must be text')
    require(all(type(one) in (int, str) for one in fields['image_ids']), 'an image id must be a number or a string')
    for result in fields['results']:
        require(isinstance(result['predictions'], str), 'predictions must be text')
        require(all(map(is_number, result['metrics'].values())), 'a metric must be a number')
        for name, kind in SETTINGS[result['kind']].items():
            require(isinstance(result[name], kind), f'{name} of a result cannot be {result[name]!r}')
        require(is_number(result.get('scale', 0)), 'a scale must be a number')
    return fields
