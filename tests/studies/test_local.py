import os
import signal
import sys
import time

import pytest
from waiting import wait_for_end

from fnoise_mmdet.engine.resume import locked
from fnoise_mmdet.studies.local import trainings
from fnoise_mmdet.studies.study import study_runs

PROTECTED = """
import os, time
from fnoise_mmdet.cli import processes
processes.protect()
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'study'


@pytest.mark.parametrize('obedient', [True, False])
def test_training_ends_with_its_workers_when_it_is_left(out, monkeypatch, obedient):
    monkeypatch.setattr('fnoise_mmdet.studies.processes.PATIENCE', 1)
    worker = 'import time; time.sleep(60)'
    ignore = '' if obedient else 'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
    script = (
        f'{ignore}import subprocess, sys, time; print(subprocess.Popen([sys.executable, "-c", {worker!r}]).pid, '
        'flush=True); time.sleep(60)'
    )
    run = study_runs(out, ['a'], [0])[0]
    with (
        locked(out),
        pytest.raises(KeyboardInterrupt),
        trainings([sys.executable, '-c', script], out) as begin,
    ):
        begin(run)
        while not run.log.read_text().endswith('\n'):
            time.sleep(0.05)
        raise KeyboardInterrupt
    pid = int(run.log.read_text())
    wait_for_end(pid, seconds=10)
    with locked(out):
        pass


def test_all_trainings_are_stopped_at_once(out):
    """Each takes a second to end by itself, and is told at the beginning of that second, not after the others' ones."""
    script = (
        'import signal, sys, time\n'
        'def stop(*_): print(time.monotonic(), flush=True); time.sleep(1); print("saved"); sys.exit(143)\n'
        'signal.signal(signal.SIGTERM, stop); print("ready", flush=True); time.sleep(60)'
    )
    runs = study_runs(out, ['a', 'b'], [0])
    with locked(out), trainings([sys.executable, '-c', script], out, workers=2) as begin:
        processes = [begin(run) for run in runs]
        while not all(run.log.read_text() == 'ready\n' for run in runs):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.05)
    _, told, saved = zip(*(run.log.read_text().split() for run in runs))
    assert abs(float(told[0]) - float(told[1])) < 0.5 and saved == ('saved', 'saved')
    assert [process.returncode for process in processes] == [143, 143]


@pytest.mark.parametrize(
    'cores, workers, chosen, threads',
    [(8, 1, None, 'None'), (8, 2, None, '4'), (8, 3, None, '2'), (1, 2, None, '1'), (8, 2, '3', '3'), (8, 1, '3', '3')],
)
def test_trainings_share_the_cores(out, monkeypatch, cores, workers, chosen, threads):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(cores)))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if chosen:
        monkeypatch.setenv('OMP_NUM_THREADS', chosen)
    run = study_runs(out, ['a'], [0])[0]
    script = 'import os; print(os.environ.get("OMP_NUM_THREADS"), "PATH" in os.environ)'
    with locked(out), trainings([sys.executable, '-c', script], out, workers) as begin:
        begin(run).wait()
    assert run.log.read_text() == f'{threads} True\n'


def test_lock_of_a_killed_study_is_free_at_once(out):
    """And its training, which has a lock of its own, is killed with it."""
    run = study_runs(out, ['a'], [0])[0]
    script = PROTECTED
    child = os.fork()
    if not child:
        os.environ['FNOISE_PARENT'] = str(os.getpid())  # as cli/processes.py does
        with locked(out), trainings([sys.executable, '-c', script], out) as begin:
            begin(run)
            while not run.log.read_text().endswith('\n'):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with locked(out):
        pass
    wait_for_end(int(run.log.read_text()), seconds=5)
