"""The plan of a study: which runs are trained next."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..datasets.files import write_atomically
from .early_stopping import Rungs, decisions_file, read_decisions, read_scores
from .study import BASELINE, FINISHED, StudyRun


class Job(NamedTuple):
    """A run to train, to its end or up to the validation of an epoch."""

    run: StudyRun
    until: int | None


class Plan:
    """Decide which run of a study is trained next, and record how trainings ended.

    Without rungs these are all unfinished runs, in order. With rungs, no run
    trains past the rung where its condition waits; the baseline, needed for
    every comparison, never waits. The state is derived from the logs of the
    runs, except the promotions in ``sweep.json``, since a condition promoted
    early need not be among the best later.

    Args:
        out: Folder of the study.
        runs: Runs of the study.
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
        self.failed: dict[StudyRun, str] = {}
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

    def ended(self, run: StudyRun, failure: str | None = None) -> None:
        """Register that a training has ended; a failure, with how it failed, is final."""
        self.under_way.remove(run)
        if failure:
            self.failed[run] = failure
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
            write_atomically(decisions_file(self.out), json.dumps(decisions, indent=1).encode())

    def _until(self, run: StudyRun) -> int | None:
        if self.rungs is None or run.condition == BASELINE:
            return None
        return self.rungs.next_rung(self.promoted.get(run.condition, 0))

    def _may_train(self, run: StudyRun) -> bool:
        if run in self.finished or run in self.under_way or run in self.failed:
            return False
        until = self._until(run)
        return until is None or until not in self._scores[run]
