import os
import subprocess
import sys

import pytest

PRINTS = """
import os, sys
from fnoise_mmdet.cli import streams
streams.protect()
for number in range(3):
    print('a line \\udcff ' * 10_000)
print('to stderr', file=sys.stderr)
with open('out', 'w') as file:
    os.system('echo from another process')
    file.write(str(getattr(sys.stdout, 'lost', None)))
"""


def run(tmp_path, how, unbuffered):
    (tmp_path / 'prints.py').write_text(PRINTS)
    environment = {**os.environ, 'PYTHONUNBUFFERED': unbuffered}
    command = f'set -o pipefail; {sys.executable} prints.py {how}'
    return subprocess.run(['bash', '-c', command], capture_output=True, text=True, env=environment, cwd=tmp_path)


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('how', ['>&-', '>&- 2>&-', '| head -n 1', '2>&1 | head -n 1', '> /dev/full'])
def test_closed_output_does_not_stop_the_work(tmp_path, how, unbuffered):
    ended = run(tmp_path, how, unbuffered)
    assert ended.returncode == 0 and ended.stderr in ('', 'to stderr\n')
    assert ('No space left' in (tmp_path / 'out').read_text()) == ('full' in how)
    assert (tmp_path / 'out').read_text().startswith('[Errno 28]' if 'full' in how else 'None')


def test_output_is_as_it_was_printed(tmp_path):
    ended = run(tmp_path, '', '1')
    assert ended.stdout == 3 * ('a line \\udcff ' * 10_000 + '\n') + 'from another process\n'


@pytest.mark.slow
def test_tools_work_with_closed_output(root, tmp_path):
    command = [sys.executable, root / 'tools/make_shapes.py', '--num-train', '1', '--num-val', '1', '--num-test', '1']
    for name in ('>&-', '| head -n 1'):
        ended = subprocess.run(
            ['bash', '-c', f'set -o pipefail; "$@" {name}', 'bash', *command, '--out', tmp_path / str(len(name))],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0 and 'Traceback' not in ended.stderr
        assert (tmp_path / str(len(name)) / 'annotations/instances_test.json').is_file()
