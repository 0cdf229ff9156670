import re
import subprocess
import sys

import pytest

from fnoise_mmdet.choices import COMMANDS

SLOW = {'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'matplotlib', 'rich'}
HELP = """
import sys
from fnoise_mmdet.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def fnoise(*arguments, script='from fnoise_mmdet.__main__ import main; main()'):
    return subprocess.run([sys.executable, '-c', script, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize('command', ['', *COMMANDS])
def test_help_imports_nothing_that_takes_seconds(command):
    shown = fnoise(*command.split(), '--help', script=HELP)
    assert shown.returncode == 0 and not SLOW.intersection(shown.stderr.split())
    assert f'usage: fnoise {command}'.rstrip() in shown.stdout and f'\n  fnoise {command}'.rstrip() in shown.stdout
    assert 'configs/' not in shown.stdout, 'which an installed package has not in the working directory'
    assert not re.search(r'(?<!checkout: )tools/', ' '.join(shown.stdout.split()))


def test_every_script_is_a_command(root):
    assert sorted(COMMANDS.values()) == sorted(path.stem for path in (root / 'tools').glob('*.py'))
    for folder, others in (
        ('cli', {'options', 'parser', 'processes', 'streams'}),
        ('commands', {'output', 'runner', 'start'}),
    ):
        names = {path.stem for path in (root / 'fnoise_mmdet' / folder).glob('*.py')}
        assert names - others - {'__init__'} == {*COMMANDS.values()}


@pytest.mark.parametrize(
    'words, message',
    [
        ((), 'arguments are required: COMMAND'),
        (('trian',), 'did you mean train?'),
        (('dataset',), 'dataset sample'),
        (('dataset', 'shape'), 'did you mean dataset shapes?'),
        (('train', 'nowhere.py'), 'config nowhere.py is not a file'),
        (('train', 'setup.py', '--show'), '--show is not supported: save feature maps in the work dir with --pictures'),
        (('infer', 'setup.py', 'a.pth', 'b.jpg', '--show'), 'the pictures are saved in OUT_DIR/vis'),
        (('test', 'setup.py', 'a.pth', '--wait-time', '2'), 'pictures are saved with --show-dir DIR'),
        (('test', 'setup.py', 'a.pth', '--tta'), '.mim/tools/test.py in the folder of the installed package mmdet'),
    ],
)
def test_wrong_words_are_answered_in_a_line(words, message):
    shown = fnoise(*words)
    assert shown.returncode == 2 and message in shown.stderr.splitlines()[-1] and not shown.stdout


@pytest.mark.parametrize('words', [('dataset', '--help'), ('dataset',), ()])
def test_commands_are_listed_with_a_line_each(words):
    shown = fnoise(*words)
    listed = [line.split('  ')[1] for line in (shown.stdout or shown.stderr).splitlines() if line.startswith('  ')]
    expected = [name for name in COMMANDS if name.startswith(words[:1] or ('',))]
    assert [name for name in listed if name in COMMANDS] == expected
    assert shown.returncode == (0 if '--help' in words else 2)


@pytest.mark.parametrize('words', [('train', 'nowhere.py'), ('infer', 'setup.py'), ('sweep', 'setup.py', '--sed', '1')])
def test_usage_errors_import_nothing_that_takes_seconds(words):
    shown = fnoise(*words, script=HELP)
    *_, error, modules = shown.stderr.splitlines()
    assert shown.returncode == 2 and 'error: ' in error and not SLOW.intersection(modules.split())


@pytest.mark.parametrize(
    'script, message',
    [
        ('sys.modules["mmdet"] = None', 'error: this command needs mmdet, which is not installed: '),
        ('import importlib.util as util; find = util.find_spec; '
         'util.find_spec = lambda name, *rest: None if name == "mmcv._ext" else find(name, *rest)',
         'error: mmcv was installed without its compiled operators'),
    ],
)  # fmt: skip
def test_missing_dependency_is_reported_in_one_line(root, script, message):
    start = f'import sys; {script}; from fnoise_mmdet.__main__ import main; main()'
    shown = fnoise('train', str(root / 'configs/baseline.py'), script=start)
    assert (
        shown.returncode == 1 and shown.stderr.splitlines()[-1].startswith(message) and 'Traceback' not in shown.stderr
    )


def test_version():
    assert fnoise('--version').stdout == '0.1.0\n'
