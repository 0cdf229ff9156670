import os
import signal
import threading
import time

import pytest
from waiting import wait_for_end

from fnoise_mmdet.engine.resume import locked
from fnoise_mmdet.studies import processes
from fnoise_mmdet.studies.processes import last_validation, run_training

PROTECTED = """
import os, time
from fnoise_mmdet.cli import processes
processes.protect()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def run(work_dir, script, until=None):
    return run_training(
        ['-c', script], work_dir, work_dir / 'train.log', str(work_dir.parent), 3, until, work_dir.parent / 'stop'
    )


def test_training_has_its_threads_and_folder(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/train.log').write_text('before\n')
    assert run(tmp_path / 'run', 'import os; print(os.environ["OMP_NUM_THREADS"], os.getcwd())')
    assert (tmp_path / 'run/train.log').read_text() == f'before\n3 {tmp_path}\n'


def test_failure_says_how(tmp_path):
    with pytest.raises(RuntimeError, match='failed with status 3'):
        run(tmp_path / 'run', 'raise SystemExit(3)')
    with pytest.raises(RuntimeError, match='was killed by signal 9'):
        run(tmp_path / 'run', 'import os; os.kill(os.getpid(), 9)')


def test_training_is_stopped_after_the_validation_of_an_epoch(tmp_path):
    log = tmp_path / 'run/20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    script = (
        'import signal, sys, time\n'
        'def stop(*_): print("told"); sys.exit(143)\n'
        'signal.signal(signal.SIGTERM, stop)\n'
        f'log = open({str(log)!r}, "a")\n'
        'for epoch in range(1, 9):\n'
        '    print(\'{"loss": 1, "step": 9}\', \'{"a/b": 0.5, "step": %d}\' % epoch, sep="\\n", file=log, flush=True)\n'
        '    time.sleep(0.5)\n'
    )
    assert run(tmp_path / 'run', script, until=2) is False
    assert (tmp_path / 'run/train.log').read_text() == 'told\n' and last_validation(tmp_path / 'run') in (2, 3)


def test_training_is_stopped_by_a_file(tmp_path):
    (tmp_path / 'stop').touch()
    assert run(tmp_path / 'run', 'import time; time.sleep(60)') is False


def test_last_validation(tmp_path):
    assert last_validation(tmp_path) == 0
    log = tmp_path / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(
        '{"loss": 1, "step": 7}\n{"epoch/mean_loss": 1, "step": 5}\n{"coco/bbox_mAP": 0.1, "step": 2}\n{"coco'
    )
    assert last_validation(tmp_path) == 2


def test_training_is_killed_with_what_has_started_it(tmp_path):
    log = tmp_path / 'run/train.log'
    child = os.fork()
    if not child:
        run(
            tmp_path / 'run',
            PROTECTED,
        )
        os._exit(0)
    while not (log.is_file() and log.read_text().endswith('\n')):
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for_end(int(log.read_text()), seconds=5)


def test_training_waits_for_the_one_before_to_end(tmp_path, monkeypatch):
    with locked(tmp_path / 'run'):
        monkeypatch.setattr(processes, 'PATIENCE', 0.5)
        assert not processes.wait_until_free(tmp_path / 'run')
        monkeypatch.setattr(processes, 'PATIENCE', 30)
        waiting = threading.Thread(target=run, args=(tmp_path / 'run', 'print("begun")'))
        waiting.start()
        time.sleep(0.5)
        assert not (tmp_path / 'run/train.log').exists()
    waiting.join()
    assert (tmp_path / 'run/train.log').read_text() == 'begun\n'
