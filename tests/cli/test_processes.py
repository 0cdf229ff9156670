"""No child outlives a killed tool, and Ctrl-C during the imports ends in one line."""

import os
import signal
import subprocess
import sys
import time

import pytest
from waiting import wait_for_end

CHILD = """
import multiprocessing, os, time
from fnoise_mmdet.cli import processes
processes.protect()

def work():
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == '__main__':
    process = multiprocessing.get_context({method!r}).Process(target=work)
    process.start()
    process.join()
"""


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_no_worker_outlives_a_killed_process(method, tmp_path):
    script = tmp_path / 'main.py'
    script.write_text(CHILD.format(method=method))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        process.kill()
        process.wait()
        wait_for_end(worker)


def test_a_training_of_a_killed_study_does_not_start():
    script = 'from fnoise_mmdet.cli import processes; processes.protect(); import time; time.sleep(1); print("started")'
    with subprocess.Popen(['true']) as study:
        pass
    environment = {**os.environ, 'FNOISE_PARENT': str(study.pid)}
    result = subprocess.run([sys.executable, '-c', script], env=environment, capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL and not result.stdout
    environment['FNOISE_PARENT'] = str(os.getpid())
    assert subprocess.check_output([sys.executable, '-c', script], env=environment, text=True) == 'started\n'


def interrupt(command, seconds):
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background have it ignored
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    return process.returncode, errors


@pytest.mark.fuzz
def test_ctrl_c_during_the_imports(root, tmp_path, shapes, fuzz_size, fuzz_report):
    arguments = dict(
        train=['configs/demo_baseline.py', '--data-root', shapes, '--work-dir', tmp_path / 'run'],
        compare=[tmp_path, '--out', tmp_path / 'report'],
        make_shapes=['--num-train', 10**6, '--out', tmp_path / 'shapes'],
        infer=['configs/demo_baseline.py', tmp_path / 'x.pth', shapes / 'test', '--out-dir', tmp_path / 'out'],
    )
    tools = [*arguments][: fuzz_size(1, 4)]
    moments = [0.3 + 0.1 * step for step in range(0, 20, fuzz_size(8, 1))]
    for tool in tools:
        for moment in moments:
            command = [sys.executable, str(root / 'tools' / f'{tool}.py'), *map(str, arguments[tool])]
            assert interrupt(command, moment) == (130, 'interrupted\n'), (tool, moment)
    fuzz_report(f'{len(tools) * len(moments)} times Ctrl-C during the imports of a tool: one line each time')


def test_ctrl_c_that_is_ignored_remains_ignored():
    script = 'from fnoise_mmdet.cli import processes; processes.protect(); import time; time.sleep(1)'
    assert interrupt(['sh', '-c', f'trap "" INT; exec {sys.executable} -c "{script}"'], 0.7) == (0, '')
