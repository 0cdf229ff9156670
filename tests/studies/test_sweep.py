"""What a sweep decides, told apart from how it is run."""

import contextlib
import json
import math

import pytest
from mmengine.config import Config

from fnoise_mmdet.engine.resume import locked
from fnoise_mmdet.errors import InputError, RunError
from fnoise_mmdet.studies.early_stopping import Rungs, cut_after, read_decisions
from fnoise_mmdet.studies.plan import Plan
from fnoise_mmdet.studies.study import study_runs
from fnoise_mmdet.studies.sweep import sweep_conditions, sweep_configs


def test_presets_are_crossed_with_scales():
    found = sweep_conditions(['cct', 'mean_normal=0.1', 'FDrop'], [0, 0.1, 1])
    assert found == {
        'cct_0.1': ('cct', dict(type='FeatureNoise', preset='cct', scale=0.1)),
        'cct_1.0': ('cct', dict(type='FeatureNoise', preset='cct', scale=1.0)),
        'mean_normal_0.1': ('mean_normal', dict(type='FeatureNoise', preset='mean_normal', scale=0.1)),
        'FDrop': ('FDrop', dict(type='FDrop')),
    }


@pytest.mark.parametrize(
    'presets, scales, message',
    [
        (['cat'], [0.1], '--preset cat: unknown noise cat, must be one of cct, mean_normal'),
        (['FDrop=0.1'], [], '--preset FDrop=0.1: FDrop has no scale'),
        (['cct=much'], [], "--preset cct=much: 'much' is not a number"),
        (['cct=0'], [], '--preset cct=0: the scale of a noise must be > 0, but got 0'),
        (['cct'], [-0.1], '--scale: the scale of a noise must be > 0, but got -0.1'),
        (['cct'], [math.nan], '--scale: the scale of a noise must be > 0, but got nan'),
        (['cct'], [0.1, 0.1], '--scale: a scale is given more than once'),
        (['cct', 'cct=0.1'], [0.1], '--preset: cct_0.1 is given more than once'),
        (['cct'], [0], 'a sweep needs noise: give a --scale > 0'),
    ],
)
def test_wrong_noises(presets, scales, message):
    with pytest.raises(InputError, match=message):
        sweep_conditions(presets, [float(scale) for scale in scales])


def test_noise_goes_where_it_was_published_for():
    model = dict(type='FasterRCNN', backbone=dict(type='ResNet'), neck=dict(type='FPN'))
    configs = sweep_configs(Config(dict(model=model)), sweep_conditions(['cct', 'uniform_20', 'mean_normal'], [0.5]))
    assert list(configs) == ['baseline', 'cct_0.5', 'uniform_20_0.5', 'mean_normal_0.5']
    assert configs['baseline'].model == model
    necks = [cfg.model.neck for cfg in configs.values()][1:]
    assert [neck.get('position') for neck in necks] == [None, 'post', None] and necks[2].levels == [-1]
    assert all(neck.noise.scale == 0.5 and neck.neck == dict(type='FPN') for neck in necks)
    with pytest.raises(InputError, match='already has F-Noise'):
        sweep_configs(configs['cct_0.5'], sweep_conditions(['cct'], [0.1]))


def training(**settings):
    return Config(dict(train_cfg=dict(dict(max_epochs=12, val_interval=1), **settings)))


def test_rungs_of_a_training():
    assert Rungs.of(training(), 'coco/bbox_mAP', 1, 3).epochs == [1, 3, 9]
    assert Rungs.of(training(val_interval=2), 'val_loss', 4, 2).epochs == [4, 8]


@pytest.mark.parametrize(
    'settings, grace, message',
    [
        (dict(val_interval=4), 4, None),
        (dict(val_interval=4), 2, 'decides after epoch 2, which is not validated'),
        (dict(val_begin=3), 1, 'decides after epoch 1, which is not validated'),
        (dict(max_epochs=None), 1, 'iteration-based'),
        (dict(), 12, '--asha-grace 12: the training has only 12 epochs'),
    ],
)
def test_rungs_that_cannot_be(settings, grace, message):
    with pytest.raises(InputError, match=message) if message else contextlib.nullcontext():
        Rungs.of(training(**settings), 'coco/bbox_mAP', grace, 3)


RUNGS = Rungs([1, 3], 'coco/bbox_mAP', 3)


def test_condition_waits_for_all_of_its_seeds():
    """Three have come with both seeds, the fourth with one: one of three goes on, and nothing is cut."""
    scores = {'a': [{1: 0.1}, {1: 0.3}], 'b': [{1: 0.9}, {}], 'c': [{1: 0.3}, {1: 0.3}], 'd': [{1: 0.2}, {1: 0.1}]}
    assert RUNGS.decide(scores, {}) == ({'c': 1}, {})
    # When the last seed has come, the better condition goes on too; what was promoted stands.
    scores['b'][1][1] = 0.9
    assert RUNGS.decide(scores, {'c': 1}) == ({'c': 1, 'b': 1}, {'a': 1, 'd': 1})


def test_the_best_of_the_last_rung_goes_to_the_end():
    scores = {'a': [{1: 0.1, 3: 0.5}], 'b': [{1: 0.2, 3: 0.4}], 'c': [{1: 0.0}]}
    promoted, cut = RUNGS.decide(scores, {'a': 1, 'b': 1})
    assert promoted == {'a': 3, 'b': 1} and cut == {'b': 3, 'c': 1}
    assert [RUNGS.next_rung(promoted.get(name, 0)) for name in 'abc'] == [None, 3, 1]


def test_lower_losses_are_better_and_nan_is_worst():
    scores = {'a': [{1: 0.5}], 'b': [{1: 0.4}], 'c': [{1: math.nan}]}
    assert RUNGS._replace(metric='val_loss').decide(scores, {}) == ({'b': 1}, {'a': 1, 'c': 1})
    assert RUNGS.decide(scores, {}) == ({'a': 1}, {'b': 1, 'c': 1})


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
