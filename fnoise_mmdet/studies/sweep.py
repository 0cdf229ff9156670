"""A sweep: a study whose conditions are noises at several scales, and which of them go on.

Nothing here needs Ray: :mod:`fnoise_mmdet.studies.on_ray` runs what is decided here.
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
    """Return the name and config of each noise of a sweep, by its condition.

    A preset is crossed with the scales, ``NAME=SCALE`` has that one alone, and
    a noise without a scale stands under its name. Scale 0 is the baseline,
    which is a condition of every sweep.

    Raises:
        InputError: A noise is not known, is named twice, or cannot have the scale.
    """
    conditions: dict[str, tuple[str, dict[str, Any]]] = {}
    for text in presets:
        preset, fixed, own = text.partition('=')
        if preset not in NOISE_CONFIGS:
            raise InputError(f'--preset {text}: there is no noise {preset}, but {", ".join(NOISE_CONFIGS)}')
        noise = NOISE_CONFIGS[preset]
        if noise['type'] != 'FeatureNoise':
            if fixed:
                raise InputError(f'--preset {text}: {preset} has no scale')
            found = {preset: noise}
        else:
            try:
                chosen = [float(own)] if fixed else [float(scale) for scale in scales if scale != 0]
            except ValueError:
                raise InputError(f'--preset {text}: {own!r} is no number') from None
            bad = [scale for scale in chosen if not (math.isfinite(scale) and scale > 0)]
            if bad:
                what = f'--preset {text}' if fixed else '--scale'
                raise InputError(f'{what}: a scale of noise must be above 0, but got {bad[0]}')
            if not fixed and len(set(chosen)) < len(chosen):
                raise InputError('--scale: a scale is given more than once')
            found = {f'{preset}_{scale}': dict(noise, scale=scale) for scale in chosen}
        for condition, one in found.items():
            if condition in conditions:
                raise InputError(f'--preset: {condition} is asked for more than once')
            conditions[condition] = (preset, one)
    if not conditions:
        raise InputError('a sweep needs noise: give --scale a value above 0')
    return conditions


def sweep_configs(baseline: Config, conditions: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, Config]:
    """Return the config of the baseline, and of each condition the same with its noise where it was published for.

    Raises:
        InputError: Noise cannot be put into the baseline, or is in it already.
    """
    configs = {BASELINE: baseline}
    for condition, (preset, noise) in conditions.items():
        cfg = copy.deepcopy(baseline)
        configs[condition] = add_fnoise(cfg, dict(noise), **PUBLISHED_PLACES.get(preset, {}))
    return configs


class Rungs(NamedTuple):
    """Where early stopping decides: the epochs, by which metric, and that one condition in ``factor`` goes on."""

    epochs: list[int]
    metric: str
    factor: int

    @property
    def higher_is_better(self) -> bool:
        """Return whether the metric is an AP rather than a loss."""
        return 'loss' not in self.metric

    @classmethod
    def of(cls, cfg: Config, metric: str, grace: int, factor: int) -> 'Rungs':
        """Return the rungs of a training: its epochs ``grace``, ``grace`` times ``factor``, and so on.

        Raises:
            InputError: The training is not counted in epochs, ends before the
                first rung, or does not validate at one.
        """
        train = cfg.train_cfg
        length = train.get('max_epochs')
        if not length:
            raise InputError('--asha decides after epochs, but this training is counted in iterations')
        if grace >= length:
            raise InputError(f'--asha-grace {grace}: the training has {length} epochs, so that there is nothing to cut')
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
        """Decide which conditions go on, by the rule of ASHA (Li et al., arXiv 1810.05934) for whole conditions.

        A condition comes to a rung when all of its seeds have been validated
        there, and waits. The best one in ``factor`` of those that have come so
        far goes on; once all have come, at least one does. The others are cut
        when nothing else can come to that rung.

        Args:
            scores: Of each condition the metric of each of its seeds by the validated epoch.
            promoted: The last rung that a condition was sent on from, which stands.

        Returns:
            The conditions promoted by now, and those that are cut, each with the epoch of its rung.
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
        """Return what is lower the better; NaN comes last."""
        mean = float(np.mean([of_seed[epoch] for of_seed in of_seeds]))
        return math.inf if math.isnan(mean) else -mean if self.higher_is_better else mean

    def next_rung(self, promoted: int) -> int | None:
        """Return the epoch that a condition may train to, None for the end of its training."""
        return next((epoch for epoch in self.epochs if epoch > promoted), None)


def read_scores(run: StudyRun, metric: str) -> dict[int, float]:
    """Return a metric of a run by the epoch of its validation.

    Raises:
        RunError: A validation does not have it.
    """
    rows = read_run(run.work_dir).val if is_run(run.work_dir) else []
    for row in rows:
        if metric not in row:
            known = ', '.join(sorted(key for key in row if key != 'step'))
            raise RunError(f'--asha-metric {metric}: {run} was validated without it; there are: {known}')
    return {row['step']: float(row[metric]) for row in rows}


class Job(NamedTuple):
    """A run to train to its end, or until it has validated an epoch."""

    run: StudyRun
    until: int | None


class SweepPlan:
    """What a sweep trains next.

    Without rungs that is every run that is not finished, in order. With them
    no run trains past the rung where its condition waits; the baseline, the
    partner in every comparison, never waits. All is derived from what the runs
    have logged, but for the promotions, which ``sweep.json`` keeps: the best of
    those that had come to a rung then need not be the best of all later.

    Args:
        out: Folder of the study.
        runs: All runs of the sweep.
        rungs: Where early stopping decides, None for no early stopping.
        read: What gives the metric of a run by epoch.
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
        """Return what is to be trained now, None where nothing is before something that is under way has ended."""
        jobs = [Job(run, self._until(run)) for run in self.runs if self._may_train(run)]
        # As in ASHA what was promoted goes first, from the last rung on.
        jobs.sort(key=lambda job: -(job.until or math.inf) if self.rungs else 0)
        if not jobs:
            return None
        self.under_way.append(jobs[0].run)
        return jobs[0]

    def ended(self, run: StudyRun, failed: bool = False) -> None:
        """Take note that a training has ended, for good where it has failed."""
        self.under_way.remove(run)
        if failed:
            self.failed.append(run)
        elif run.state() == FINISHED:
            self.finished.append(run)
        if self.rungs and run.condition != BASELINE:
            self._scores[run] = self.read(run, self.rungs.metric)
        self.decide()

    def decide(self) -> None:
        """Decide which conditions go on, and keep that in ``sweep.json``."""
        decisions: dict[str, Any] = {}
        if self.rungs:
            scores: dict[str, list[dict[int, float]]] = {}
            for run, of_run in self._scores.items():
                if run not in self.failed:  # what has failed for good is waited for by nobody
                    scores.setdefault(run.condition, []).append(of_run)
            self.promoted, self.cut = self.rungs.decide(scores, self.promoted)
            decisions = dict(promoted=self.promoted, cut=self.cut)
        # What was decided of conditions that this call leaves alone stands.
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
    """Return what early stopping has decided in a study, nothing where there was none."""
    file = _decisions_file(out)
    found: dict[str, Any] = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
    return found


def cut_after(work_dir: Path) -> int | None:
    """Return the epoch after which early stopping has cut the condition of a run, None where it has not."""
    folder = work_dir.absolute().parent
    try:
        epoch: int | None = read_decisions(folder.parent).get('cut', {}).get(folder.name)
    except (ValueError, AttributeError):  # a file of something else
        return None
    return epoch
