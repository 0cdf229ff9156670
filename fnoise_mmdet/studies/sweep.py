"""A sweep: a study with noises at several scales as conditions, and early stopping of conditions.

Nothing here needs Ray, which :mod:`fnoise_mmdet.studies.on_ray` uses to run the plan.
"""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from ..comparison.runs import is_run, read_run
from ..config import NOISE_CONFIGS, PUBLISHED_PLACES, add_fnoise
from ..datasets.files import write_atomically
from ..errors import InputError, RunError
from .study import FINISHED, StudyRun

BASELINE = 'baseline'


def sweep_conditions(presets: Sequence[str], scales: Sequence[float]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the name and config of the noise of each condition of a sweep.

    A preset is combined with all scales, ``NAME=SCALE`` only with its own, and
    a noise without a scale is one condition. Scale 0 is the baseline, which is
    a condition of every sweep.

    Raises:
        InputError: If a noise is unknown, given twice, or cannot have the scale.
    """
    conditions: dict[str, tuple[str, dict[str, Any]]] = {}
    for text in presets:
        preset, fixed, own = text.partition('=')
        if preset not in NOISE_CONFIGS:
            raise InputError(f'--preset {text}: unknown noise {preset}, must be one of {", ".join(NOISE_CONFIGS)}')
        noise = NOISE_CONFIGS[preset]
        if noise['type'] != 'FeatureNoise':
            if fixed:
                raise InputError(f'--preset {text}: {preset} has no scale')
            found = {preset: noise}
        else:
            try:
                chosen = [float(own)] if fixed else [float(scale) for scale in scales if scale != 0]
            except ValueError:
                raise InputError(f'--preset {text}: {own!r} is not a number') from None
            bad = [scale for scale in chosen if not (math.isfinite(scale) and scale > 0)]
            if bad:
                what = f'--preset {text}' if fixed else '--scale'
                raise InputError(f'{what}: the scale of a noise must be > 0, but got {bad[0]}')
            if not fixed and len(set(chosen)) < len(chosen):
                raise InputError('--scale: a scale is given more than once')
            found = {f'{preset}_{scale}': dict(noise, scale=scale) for scale in chosen}
        for condition, one in found.items():
            if condition in conditions:
                raise InputError(f'--preset: {condition} is given more than once')
            conditions[condition] = (preset, one)
    if not conditions:
        raise InputError('a sweep needs noise: give a --scale > 0')
    return conditions


def sweep_configs(baseline: Config, conditions: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, Config]:
    """Return the config of the baseline, and of each condition with its noise at its published place.

    Raises:
        InputError: If noise cannot be inserted into the baseline, or it already has noise.
    """
    configs = {BASELINE: baseline}
    for condition, (preset, noise) in conditions.items():
        cfg = copy.deepcopy(baseline)
        configs[condition] = add_fnoise(cfg, dict(noise), **PUBLISHED_PLACES.get(preset, {}))
    return configs


class Rungs(NamedTuple):
    """Settings of early stopping: epochs of the rungs, metric, and reduction factor."""

    epochs: list[int]
    metric: str
    factor: int

    @property
    def higher_is_better(self) -> bool:
        """Return whether higher values of the metric are better, i.e. it is not a loss."""
        return 'loss' not in self.metric

    @classmethod
    def of(cls, cfg: Config, metric: str, grace: int, factor: int) -> 'Rungs':
        """Return the rungs of a training: its epochs ``grace``, ``grace`` times ``factor``, and so on.

        Raises:
            InputError: If the training is not epoch-based, ends before the
                first rung, or does not validate at a rung.
        """
        train = cfg.train_cfg
        length = train.get('max_epochs')
        if not length:
            raise InputError('--asha needs epoch-based training, but this training is iteration-based')
        if grace >= length:
            raise InputError(f'--asha-grace {grace}: the training has only {length} epochs')
        epochs = []
        while grace < length:
            epochs.append(grace)
            grace *= factor
        unseen = [one for one in epochs if one < train.get('val_begin', 1) or one % train.get('val_interval', 1)]
        if unseen:
            raise InputError(
                f'--asha decides after epoch {unseen[0]}, which is not validated: choose another --asha-grace, or '
                '--cfg-options train_cfg.val_interval=1'
            )
        return cls(epochs, metric, factor)

    def decide(
        self, scores: Mapping[str, Sequence[Mapping[int, float]]], promoted: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Decide which conditions are promoted, by the rule of ASHA (Li et al., arXiv 1810.05934) on whole conditions.

        A condition reaches a rung when all of its seeds have been validated
        there, and waits. The best 1/``factor`` of those that have reached it
        are promoted; at least one once all have. The others are cut
        when no further condition can reach the rung.

        Args:
            scores: Metric of each condition, by seed and validated epoch.
            promoted: Last rung from which each condition was promoted; promotions are final.

        Returns:
            The promoted and the cut conditions, each with the epoch of its rung.
        """
        cut: dict[str, int] = {}
        promoted = dict(promoted)
        rivals, all_came = list(scores), True
        for epoch in self.epochs:
            came = [name for name in rivals if all(epoch in of_seed for of_seed in scores[name])]
            all_came = all_came and len(came) == len(rivals)
            came.sort(key=lambda name: self._rank(scores[name], epoch))
            most = max(len(came) // self.factor, int(all_came))
            for name in came[:most]:
                promoted[name] = max(promoted.get(name, 0), epoch)
            gone_on = [name for name in rivals if promoted.get(name, 0) >= epoch]
            if all_came:
                cut |= {name: epoch for name in rivals if name not in gone_on}
            rivals = gone_on
        return promoted, cut

    def _rank(self, of_seeds: Sequence[Mapping[int, float]], epoch: int) -> float:
        """Return a sort key that is lower for better values, with NaN last."""
        mean = float(np.mean([of_seed[epoch] for of_seed in of_seeds]))
        return math.inf if math.isnan(mean) else -mean if self.higher_is_better else mean

    def next_rung(self, promoted: int) -> int | None:
        """Return the epoch up to which a condition may train, None for the whole training."""
        return next((epoch for epoch in self.epochs if epoch > promoted), None)


def read_scores(run: StudyRun, metric: str) -> dict[int, float]:
    """Return a metric of a run by validated epoch.

    Raises:
        RunError: If a validation does not have it.
    """
    rows = read_run(run.work_dir).val if is_run(run.work_dir) else []
    for row in rows:
        if metric not in row:
            known = ', '.join(sorted(key for key in row if key != 'step'))
            raise RunError(f'--asha-metric {metric}: not reported by the validation of {run}, which has: {known}')
    return {row['step']: float(row[metric]) for row in rows}


class Job(NamedTuple):
    """A run to train, to its end or up to the validation of an epoch."""

    run: StudyRun
    until: int | None


class SweepPlan:
    """Plan of a sweep: which runs are trained next.

    Without rungs these are all unfinished runs, in order. With rungs, no run
    trains past the rung where its condition waits; the baseline, needed for
    every comparison, never waits. The state is derived from the logs of the
    runs, except the promotions in ``sweep.json``, since a condition promoted
    early need not be among the best later.

    Args:
        out: Folder of the study.
        runs: Runs of the sweep.
        rungs: Settings of early stopping, None to disable it.
        read: Returns the metric of a run by epoch.
    """

    def __init__(
        self,
        out: Path,
        runs: Sequence[StudyRun],
        rungs: Rungs | None = None,
        read: Callable[[StudyRun, str], dict[int, float]] = read_scores,
    ) -> None:
        self.out, self.runs, self.rungs, self.read = out, list(runs), rungs, read
        self.under_way: list[StudyRun] = []
        self.failed: list[StudyRun] = []
        self.finished = [run for run in runs if run.state() == FINISHED]
        there = read_decisions(out).get('promoted', {}) if rungs else {}
        self.promoted = {name: epoch for name, epoch in there.items() if any(name == run.condition for run in runs)}
        self.cut: dict[str, int] = {}
        self._scores = {run: read(run, rungs.metric) for run in runs if rungs and run.condition != BASELINE}
        self.decide()

    def next(self) -> Job | None:
        """Return the next job, None if it depends on running ones."""
        jobs = [Job(run, self._until(run)) for run in self.runs if self._may_train(run)]
        # As in ASHA, promoted conditions come first, those of the highest rung before others.
        jobs.sort(key=lambda job: -(job.until or math.inf) if self.rungs else 0)
        if not jobs:
            return None
        self.under_way.append(jobs[0].run)
        return jobs[0]

    def ended(self, run: StudyRun, failed: bool = False) -> None:
        """Register that a training has ended; a failure is final."""
        self.under_way.remove(run)
        if failed:
            self.failed.append(run)
        elif run.state() == FINISHED:
            self.finished.append(run)
        if self.rungs and run.condition != BASELINE:
            self._scores[run] = self.read(run, self.rungs.metric)
        self.decide()

    def decide(self) -> None:
        """Decide which conditions are promoted, and save the decision in ``sweep.json``."""
        decisions: dict[str, Any] = {}
        if self.rungs:
            scores: dict[str, list[dict[int, float]]] = {}
            for run, of_run in self._scores.items():
                if run not in self.failed:  # failed runs are not waited for
                    scores.setdefault(run.condition, []).append(of_run)
            self.promoted, self.cut = self.rungs.decide(scores, self.promoted)
            decisions = dict(promoted=self.promoted, cut=self.cut)
        # Keep decisions on conditions that are not part of this call.
        mine = {run.condition for run in self.runs}
        for what, of_conditions in read_decisions(self.out).items():
            others = {name: epoch for name, epoch in of_conditions.items() if name not in mine}
            if others:
                decisions[what] = others | decisions.get(what, {})
        if decisions != read_decisions(self.out):
            write_atomically(_decisions_file(self.out), json.dumps(decisions, indent=1).encode())

    def _until(self, run: StudyRun) -> int | None:
        if self.rungs is None or run.condition == BASELINE:
            return None
        return self.rungs.next_rung(self.promoted.get(run.condition, 0))

    def _may_train(self, run: StudyRun) -> bool:
        if run in self.finished or run in self.under_way or run in self.failed:
            return False
        until = self._until(run)
        return until is None or until not in self._scores[run]


def _decisions_file(out: Path) -> Path:
    return out / 'sweep.json'


def read_decisions(out: Path) -> dict[str, Any]:
    """Return the decisions of early stopping in a study, empty if there were none."""
    file = _decisions_file(out)
    found: dict[str, Any] = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
    return found


def cut_after(work_dir: Path) -> int | None:
    """Return the epoch after which early stopping cut the condition of a run, None if it did not."""
    folder = work_dir.absolute().parent
    try:
        epoch: int | None = read_decisions(folder.parent).get('cut', {}).get(folder.name)
    except (ValueError, AttributeError):  # a file of another program
        return None
    return epoch
