import contextlib
import importlib.util
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

from fnoise_mmdet.commands.sweep import import_ray
from fnoise_mmdet.errors import InputError

CONFIG = 'configs/demo_baseline.py'
needs_ray = pytest.mark.skipif(importlib.util.find_spec('ray') is None, reason='ray is not installed')


def rows(work_dir, key):
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return {row['step']: row[key] for row in lines if key in row}


@pytest.fixture(scope='session')
def command(shapes, small):
    """The command line of a small sweep, but for its folder."""
    return [CONFIG, '--data-root', shapes, '--cfg-options', *small, 'custom_hooks=[]']


@needs_ray
def test_dry_run_lists_and_writes_nothing(tool, command, tmp_path):
    out = tmp_path / 'out'
    result = tool(
        'sweep', *command, '--out', out, '--preset', 'cct', 'uniform_20=0.2', 'FDrop', '--scale', 0, 0.1, 1, '--seeds',
        3, '--dry-run',
    )  # fmt: skip
    runs = re.findall(r'^(\w[\w.]*), seed 3: will start$', result.stdout, re.MULTILINE)
    assert runs == ['baseline', 'cct_0.1', 'cct_1.0', 'uniform_20_0.2', 'FDrop'] and not out.exists()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['configs/nowhere.py'], 'config configs/nowhere.py is not a file'),
        (['configs/demo_fnoise.py'], 'already has F-Noise'),
        ([CONFIG, '--preset', 'cat'], '--preset cat: unknown noise cat'),
        ([CONFIG, '--scale', '0'], 'a sweep needs at least one condition'),
        ([CONFIG, '--cpus', '0'], 'argument --cpus: must be >= 1, but got 0'),
        ([CONFIG, '--gpus', '-1'], 'argument --gpus: must be >= 0 and finite, but got -1'),
        ([CONFIG, '--seeds', '1', '1'], 'seed 1 is given more than once'),
        ([CONFIG, '--asha', '--asha-grace', '4'], '--asha-grace 4: the training has only 4 epochs'),
        ([CONFIG, '--data-root', 'nowhere'], 'data root nowhere is not a folder'),
        ([CONFIG, '--cfg-options', 'model.rpn_head.type=Nope'], 'baseline: the model cannot be built'),
    ],
)
def test_wrong_arguments_begin_nothing(tool, shapes, tmp_path, arguments, message):
    data = [] if '--data-root' in arguments else ['--data-root', shapes]
    result = tool('sweep', *arguments, *data, '--out', tmp_path / 'out', status=2)
    assert message in result.stderr and not (tmp_path / 'out').exists()


def test_missing_ray_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, 'fnoise_mmdet.studies.on_ray', raising=False)
    monkeypatch.delattr('fnoise_mmdet.studies.on_ray', raising=False)
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(InputError, match=r"a sweep needs Ray Tune, pip install 'ray\[tune\]>=2.60,<3': "):
        import_ray()


def test_extra_is_what_the_set_up_installs_and_the_error_names(root):
    extra = re.search(r'^sweep = \["(ray.*)"\]$', (root / 'pyproject.toml').read_text(), re.MULTILINE)[1]
    set_up = (root / 'tools/dev/setup_env.py').read_text()
    assert "'sweep,photos'" in set_up and "f'{ROOT}[{extras}]'" in set_up
    assert f"'{extra}'" in (root / 'fnoise_mmdet/commands/sweep.py').read_text()


def training_of(work_dir: Path) -> int | None:
    """Find the process that trains in a work dir."""
    for process in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            words = (process / 'cmdline').read_bytes().split(b'\0')
            if f'--work-dir={work_dir}'.encode() in words and words[1:4] == [b'-m', b'fnoise_mmdet', b'train']:
                return int(process.name)
    return None


def worker_of(training: int) -> int:
    """Find the worker of Ray that a training belongs to."""
    return int(re.search(r'^PPid:\s*(\d+)', Path(f'/proc/{training}/status').read_text(), re.MULTILINE)[1])


def assert_same(work_dir: Path, other: Path, epochs: int) -> None:
    """Weights and logs are the same to the last bit."""
    for key in ('loss', 'coco/bbox_mAP', 'val_loss'):
        assert rows(work_dir, key) == rows(other, key) and rows(work_dir, key)
    weights, others = (torch.load(run / f'epoch_{epochs}.pth', weights_only=False) for run in (work_dir, other))
    assert weights['state_dict'].keys() == others['state_dict'].keys()
    assert all(torch.equal(weights['state_dict'][key], value) for key, value in others['state_dict'].items())


EPOCHS = 3
SWEEP = ['--scale', '0.3', '--seeds', '5']
RUNS = ('baseline/seed_5', 'cct_0.3/seed_5')


@contextlib.contextmanager
def started(root, arguments):
    with subprocess.Popen(
        [sys.executable, 'tools/sweep.py', *map(str, arguments)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '7'},  # trials have threads of their own, as many as CPUs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    ) as process:
        yield process


def wait_for(condition, process):
    while not (found := condition()):
        assert process.poll() is None, process.stdout.read() + process.stderr.read()
        time.sleep(0.05)
    return found


@pytest.fixture(scope='session')
def whole(tool, command, tmp_path_factory):
    """A sweep that nothing has befallen."""
    out = tmp_path_factory.mktemp('sweep') / 'whole'
    result = tool('sweep', *command, f'train_cfg.max_epochs={EPOCHS}', *SWEEP, '--out', out, '--no-report')
    assert '2 runs, 0 of them finished' in result.stdout and 'cct_0.3, seed 5: finished after' in result.stdout
    assert json.loads((out / RUNS[0] / 'run.json').read_text())['environment']['torch threads'] == '1'
    assert not (out / '.ray').exists()
    return out


@needs_ray
@pytest.mark.slow
def test_what_is_killed_is_tried_again_from_its_checkpoint(root, command, whole, tmp_path):
    """Two workers: a training is killed, and the worker of the other."""
    out = tmp_path / 'out'
    arguments = [*command, f'train_cfg.max_epochs={EPOCHS}', *SWEEP, '--out', out, '--no-report']
    with started(root, arguments) as process:
        for run, kill_worker in zip(RUNS, (False, True)):
            wait_for((out / run / 'last_checkpoint').is_file, process)
            pid = training_of(out / run)
            os.kill(worker_of(pid) if kill_worker else pid, signal.SIGKILL)
        text, errors = process.communicate()
    assert process.returncode == 0, text + errors
    assert 'baseline, seed 5: was killed by signal 9; retry 1 of 2' in text
    assert 'cct_0.3, seed 5: lost its worker; retry 1 of 2' in text
    resumed = re.findall(r'^\d/2  ([\w.]+), seed 5: resumes from (?:epoch_\d|resume)\.pth', text, re.MULTILINE)
    assert sorted(resumed) == ['baseline', 'cct_0.3']
    for run in RUNS:
        assert_same(out / run, whole / run, EPOCHS)
    assert 'Traceback' not in errors and 'ray' not in errors.lower()


@needs_ray
@pytest.mark.long
def test_stopped_sweep_resumed(tool, root, command, whole, tmp_path):
    out = tmp_path / 'out'
    arguments = [*command, f'train_cfg.max_epochs={EPOCHS}', *SWEEP, '--out', out, '--no-report']
    with started(root, arguments) as process:
        wait_for(lambda: all((out / run / 'last_checkpoint').is_file() for run in RUNS), process)
        process.send_signal(signal.SIGINT)
        text, errors = process.communicate()
    assert process.returncode == 130 and 'rerun the same command to resume' in errors, text + errors
    assert not any(training_of(out / run) or (out / run / 'finished').exists() for run in RUNS)
    assert not (out / '.ray').exists()
    text = tool('sweep', *arguments).stdout
    assert len(re.findall(r'seed 5: resumes from (?:resume|epoch_\d)\.pth', text)) == 2
    for run in RUNS:  # told once, so that nothing of what was done is lost
        assert 'INFO - stopped after' in (out / run / 'train.log').read_text()
    for run in RUNS:
        assert_same(out / run, whole / run, EPOCHS)
    # All is there, and another scale is added: the runs that are finished are kept.
    result = tool('sweep', *arguments, '--scale', 0.3, 0.5, '--dry-run')
    assert [line.split(': ')[1] for line in result.stdout.splitlines() if 'seed 5' in line] == [
        'is finished', 'is finished', 'will start',
    ]  # fmt: skip


@needs_ray
@pytest.mark.slow
def test_permanent_failures_are_reported_and_the_others_continue(tool, command, tmp_path):
    """One of them cannot write its config."""
    out = tmp_path / 'out'
    options = ['train_cfg.max_epochs=1', '--preset', 'cct', '--scale', 0.1, '--seeds', 0, '--retries', 0]
    log = out / 'cct_0.1/seed_0'
    (log / 'cct_0.1.py').mkdir(parents=True)
    out.joinpath('study.json').write_text('{"conditions": [], "command": ""}')
    text = tool('sweep', *command, *options, '--out', out, '--no-report', status=1)
    assert re.search(r'cct_0.1, seed 0: failed with status \d, no retries left', text.stdout)
    assert f'cct_0.1, seed 0 failed; see its output in {log}/train.log' in text.stderr
    assert (out / 'baseline/seed_0/finished').is_file() and not (log / 'finished').exists()


@needs_ray
@pytest.mark.slow
def test_early_stopping_cuts_whole_conditions_and_the_report_names_them(tool, command, tmp_path):
    out = tmp_path / 'out'
    options = ['train_cfg.max_epochs=2', '--asha', '--asha-metric', 'val_loss', '--seeds', 0, 1, '--scale', 0.1, 9]
    text = tool('sweep', *command, *options, '--out', out).stdout
    (cut,) = json.loads((out / 'sweep.json').read_text())['cut']
    assert f'{cut} was cut after epoch 1, with all of its seeds' in text
    assert f'{cut} was cut after epoch 1 by its sweep' in ' '.join(text.split())
    finished = {str(path.parent.relative_to(out)) for path in out.glob('*/*/finished')}
    kept = {'cct_0.1', 'cct_9.0'} - {cut}
    assert finished == {f'{name}/seed_{seed}' for name in (*kept, 'baseline') for seed in (0, 1)}
    assert list(json.loads((out / 'report/comparison.json').read_text())['conditions']) == ['baseline', *kept]
