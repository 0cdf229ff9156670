import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

PAIR = ('configs/demo_baseline.py', 'configs/demo_fnoise.py')
SHORT = ('train_cfg.max_epochs=1', 'custom_hooks=[]')


def rows(work_dir, key):
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return {row['step']: row[key] for row in lines if key in row}


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file() and path.name != '.lock'}


@pytest.fixture(scope='session')
def command(shapes, small):
    """The command line of a small study, but for its folder."""
    return [*PAIR, '--data-root', shapes, '--no-report', '--cfg-options', *small, *SHORT]


@pytest.fixture(scope='session')
def study(tool, command, tmp_path_factory):
    """A finished study of one seed."""
    out = tmp_path_factory.mktemp('pair') / 'study'
    result = tool('run_pair', *command, '--out', out, '--seeds', 5)
    assert '2 runs, 0 of them finished' in result.stdout and '2/2  fnoise, seed 5: finished after' in result.stdout
    return out


def test_pair_differs_in_its_noise_alone(study):
    baseline, fnoise = (study / name / 'seed_5' for name in ('baseline', 'fnoise'))
    assert (baseline / 'finished').is_file() and (fnoise / 'finished').is_file()
    assert all('seed=5' in next(run.glob('*.py')).read_text() for run in (baseline, fnoise))
    losses = [rows(run, 'loss') for run in (baseline, fnoise)]
    assert losses[0].keys() == losses[1].keys() == {1, 2, 3, 4}
    # The same weights and images: the first losses differ by what the noise does to the features, little.
    assert losses[0][1] != losses[1][1] and losses[0][1] == pytest.approx(losses[1][1], rel=0.05)


def test_finished_runs_are_kept(tool, command, study):
    before = times(study)
    assert '2 runs, 2 of them finished' in tool('run_pair', *command, '--out', study, '--seeds', 5).stdout
    assert times(study) == before


def test_dry_run_lists_and_writes_nothing(tool, command, study):
    before = times(study)
    result = tool('run_pair', *command, '--out', study, '--seeds', 5, 6, '--dry-run')
    assert 'fnoise, seed 5: is finished' in result.stdout and 'baseline, seed 6: will start' in result.stdout
    assert times(study) == before and not (study / 'baseline/seed_6').exists()


def test_other_settings_are_refused(tool, command, study):
    before = times(study)
    result = tool('run_pair', *command, 'model.test_cfg.rcnn.score_thr=0.5', '--out', study, '--seeds', 5, status=2)
    assert 'is a study with other settings: baseline differs in model.test_cfg.rcnn.score_thr (was 0.05, now 0.5)' in (
        result.stderr
    )
    assert times(study) == before


def test_failed_training_is_named_with_its_log(tool, command, tmp_path):
    result = tool('run_pair', *command, 'train_dataloader.num_workers=-1', '--out', tmp_path / 'out', status=1)
    log = tmp_path / 'out/baseline/seed_0/train.log'
    assert 'baseline, seed 0 failed with status 1' in result.stderr and str(log) in result.stderr
    assert 'ValueError: num_workers option should be non-negative' in result.stderr
    assert not (log.parent / 'finished').exists() and not (tmp_path / 'out/fnoise').exists()


@pytest.mark.slow
def test_two_workers_train_side_by_side_what_one_trains(tool, command, study, tmp_path):
    out = tmp_path / 'study'
    text = tool('run_pair', *command, '--out', out, '--seeds', 5, '--workers', 2).stdout
    verbs = re.findall(r'^\d/2  (baseline|fnoise), seed 5: (starts|finished)', text, re.MULTILINE)
    assert verbs[:2] == [('baseline', 'starts'), ('fnoise', 'starts')]
    assert sorted(verbs[2:]) == [('baseline', 'finished'), ('fnoise', 'finished')]
    for name in ('baseline', 'fnoise'):
        alone, beside = (folder / name / 'seed_5' for folder in (study, out))
        assert rows(alone, 'loss') == rows(beside, 'loss') and rows(beside, 'loss')
        assert rows(alone, 'coco/bbox_mAP') == rows(beside, 'coco/bbox_mAP')
        weights, others = (torch.load(run / 'epoch_1.pth', weights_only=False)['state_dict'] for run in (alone, beside))
        assert weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)


@pytest.mark.slow
def test_failed_training_of_two_stops_the_other(tool, command, tmp_path):
    options = ['train_cfg.max_epochs=100', '--fnoise-options', 'train_dataloader.num_workers=-1']
    result = tool('run_pair', *command, *options, '--out', tmp_path / 'out', '--workers', 2, status=1)
    assert 'baseline, seed 0: starts' in result.stdout and 'fnoise, seed 1: starts' not in result.stdout
    assert 'fnoise, seed 0: failed with status 1; stopping the other trainings' in result.stdout
    assert 'ValueError: num_workers option should be non-negative' in result.stderr
    assert f'fnoise, seed 0 failed with status 1; see its output in {tmp_path}/out/fnoise/seed_0/train.log' in (
        result.stderr
    )
    assert not list((tmp_path / 'out').glob('*/*/finished')) and not is_locked(tmp_path / 'out')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['configs/nowhere.py'], 'config configs/nowhere.py is not a file'),
        ([*PAIR, '--fnoise', 'l2'], '--fnoise l2 creates the second config from the first'),
        ([PAIR[0], PAIR[0]], 'is the same config as'),
        ([*reversed(PAIR)], f'{PAIR[1]} has F-Noise already: name the config without it first'),
        ([PAIR[0], 'configs/photos_baseline.py'], 'configs/photos_baseline.py has no F-Noise: name the config with it'),
        ([*PAIR, '--fnoise-options', 'model.nekc=1'], f'--fnoise-options do not fit {PAIR[1]}: '),
        ([*PAIR, '--workers', '0'], 'argument --workers: must be >= 1, but got 0'),
        ([*PAIR, '--data-root', 'nowhere'], 'baseline: data root nowhere is not a folder'),
        ([PAIR[0], '--fnoise-options', 'model.neck.noise.scale=-1'], 'fnoise: the model cannot be built'),
    ],
)
def test_wrong_arguments_begin_nothing(tool, shapes, tmp_path, arguments, message):
    data = [] if '--data-root' in arguments else ['--data-root', shapes]
    result = tool('run_pair', *arguments, *data, '--out', tmp_path / 'out', status=2)
    assert message in result.stderr and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'stop, workers',
    [
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.long),
    ],
)
def test_stopped_study_resumed(tool, root, command, tmp_path, stop, workers):
    """Stopped after an epoch of its last run or runs: those under way resume, and what is finished is left alone."""
    out, epochs = tmp_path / 'study', 3 * workers  # none of two may end before the other has a checkpoint
    options = [f'train_cfg.max_epochs={epochs}', '--out', out, '--seeds', 0, '--workers', workers]
    arguments = [str(one) for one in (*command, *options) if one != '--no-report']
    runs = [out / name / 'seed_0' for name in ('baseline', 'fnoise')]
    finished, stopped = runs[:-workers], runs[-workers:]
    with subprocess.Popen(
        [sys.executable, 'tools/run_pair.py', *arguments],
        cwd=root,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    ) as process:
        while not all((run / 'last_checkpoint').is_file() for run in stopped):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(stop)
        errors = process.stderr.read() if stop != signal.SIGKILL else ''
    if stop != signal.SIGKILL:
        assert process.returncode == 128 + stop and 'rerun the same command to resume' in errors
    assert not is_locked(out)  # a training ends with the process that started it
    assert not any((run / 'finished').exists() for run in stopped)
    before = {path: seen for run in finished for path, seen in times(run).items()}

    result = tool('run_pair', *arguments)
    assert f'2 runs, {len(finished)} of them finished' in result.stdout
    resumed = re.findall(r'^./\d  (\w+), seed 0: resumes from (?:epoch_\d|resume)\.pth', result.stdout, re.MULTILINE)
    assert resumed == [run.parent.name for run in stopped]
    assert {path: seen for run in finished for path, seen in times(run).items()} == before
    for run in runs:
        assert (run / 'finished').is_file()
        assert rows(run, 'loss').keys() == set(range(1, 4 * epochs + 1))
        assert rows(run, 'coco/bbox_mAP').keys() == set(range(1, epochs + 1))
    assert (out / 'report/report.html').is_file() and str(out / 'report/report.html') in result.stdout


def is_locked(out: Path) -> bool:
    return subprocess.run(['flock', '--nonblock', str(out / '.lock'), 'true']).returncode != 0


@pytest.mark.long
def test_report_comes_last(tool, command, study):
    """After more seeds were added."""
    result = tool('run_pair', *[one for one in command if one != '--no-report'], '--out', study, '--seeds', 5, 6)
    assert '4 runs, 2 of them finished' in result.stdout and str(study / 'report/report.html') in result.stdout
    assert (study / 'report/report.html').is_file()
