import json
import math

import pytest

from fnoise_mmdet.engine.resume import locked
from fnoise_mmdet.errors import RunError
from fnoise_mmdet.studies.early_stopping import Rungs, cut_after, read_decisions
from fnoise_mmdet.studies.plan import Plan
from fnoise_mmdet.studies.study import study_runs

RUNGS = Rungs([1, 3], 'coco/bbox_mAP', 3)


class Sweep:
    """A sweep whose trainings take no time: what they would log is a function of condition, seed and epoch."""

    def __init__(self, out, conditions, seeds, rungs, score):
        self.runs = study_runs(out, ['baseline', *conditions], seeds)
        self.epochs = dict.fromkeys(self.runs, 0)
        self.score, self.rungs, self.out = score, rungs, out
        self.begun = []

    def read(self, run, _metric):
        return {epoch: self.score(run, epoch) for epoch in range(1, self.epochs[run] + 1)}

    def plan(self):
        return Plan(self.out, self.runs, self.rungs, self.read)

    def train(self, plan, workers, length=9, steps=math.inf, failing=()):
        under_way = []
        while steps > 0:
            while len(under_way) < workers and (job := plan.next()):
                under_way.append(job)
                self.begun.append(job)
            if not under_way:
                return
            job, steps = under_way.pop(0), steps - 1
            self.epochs[job.run] = job.until or length
            if job.until is None:
                job.run.work_dir.mkdir(parents=True, exist_ok=True)
                job.run.marker.touch()
            plan.ended(job.run, 'failed' if job.run in failing else None)


def quality(run, epoch):
    return int(run.condition[1:]) + 0.1 * run.seed + epoch


@pytest.fixture
def out(tmp_path):
    with locked(tmp_path / 'sweep'):
        return tmp_path / 'sweep'


def test_without_early_stopping_all_are_trained_in_order(out):
    sweep = Sweep(out, ['c1', 'c2'], [0, 1], None, quality)
    sweep.train(sweep.plan(), 2)
    assert [job.run for job in sweep.begun] == sweep.runs and not any(job.until for job in sweep.begun)
    assert not (out / 'sweep.json').exists()


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_conditions_are_cut_whole(out, workers):
    """Nine conditions of three seeds: all seeds of one stop at the same epoch, and the baseline is never cut."""
    sweep = Sweep(out, [f'c{place}' for place in range(9)], [0, 1, 2], RUNGS, quality)
    plan = sweep.plan()
    sweep.train(plan, workers)
    lengths = {}
    for run, epochs in sweep.epochs.items():
        lengths.setdefault(run.condition, set()).add(epochs)
    assert all(len(of_seeds) == 1 for of_seeds in lengths.values())
    assert lengths['baseline'] == {9} and lengths['c8'] == {9}
    assert {name: epoch for name, (epoch,) in lengths.items() if epoch < 9} == plan.cut
    assert len(plan.cut) < 9 and set(plan.cut.values()) <= {1, 3}
    assert read_decisions(out)['cut'] == plan.cut
    assert cut_after(out / 'c0/seed_0') == 1 and cut_after(out / 'c8/seed_0') is None


def test_stopped_sweep_decides_as_the_one_that_was_not(out, tmp_path):
    whole = Sweep(tmp_path / 'whole', [f'c{place}' for place in range(9)], [0, 1], RUNGS, quality)
    (tmp_path / 'whole').mkdir()
    whole.train(plan := whole.plan(), 2)
    parts = Sweep(out, [f'c{place}' for place in range(9)], [0, 1], RUNGS, quality)
    for _ in range(50):
        parts.train(again := parts.plan(), 2, steps=3)
    assert again.cut == plan.cut and list(parts.epochs.values()) == list(whole.epochs.values())


def test_failed_run_holds_up_nobody(out):
    sweep = Sweep(out, ['c1', 'c2', 'c3'], [0, 1], RUNGS, quality)
    plan = sweep.plan()
    sweep.train(plan, 2, failing=[run for run in sweep.runs if str(run) in ('c1, seed 0', 'c3, seed 1')])
    assert sweep.epochs[next(run for run in sweep.runs if str(run) == 'c3, seed 0')] == 9
    assert plan.cut == {'c1': 1, 'c2': 1} and len(plan.failed) == 2


def test_other_calls_leave_decisions_alone(out):
    sweep = Sweep(out, ['c1', 'c2', 'c3'], [0], RUNGS, quality)
    sweep.train(sweep.plan(), 1)
    assert json.loads((out / 'sweep.json').read_text()) == dict(promoted={'c3': 3}, cut={'c1': 1, 'c2': 1})
    # Trained to its end without early stopping, a condition is no longer cut, and the other still is.
    one = Sweep(out, ['c1'], [0], None, quality)
    one.train(one.plan(), 1)
    assert read_decisions(out) == dict(promoted={'c3': 3}, cut={'c2': 1})


def test_metric_that_was_not_logged_is_named(out):
    run = study_runs(out, ['c1'], [0])[0]
    log = run.work_dir / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "step": 1, "epoch": 1}\n{"coco/bbox_mAP": 0.5, "val_loss": 2.0, "step": 1}\n')
    assert Plan(out, [run], RUNGS)._scores == {run: {1: 0.5}}
    with pytest.raises(
        RunError, match='--asha-metric AP: not reported by the validation of c1, seed 0, which has: coco'
    ):
        Plan(out, [run], RUNGS._replace(metric='AP'))
