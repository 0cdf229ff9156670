import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import dump
from mmengine.fileio.backends import registry_utils

from fnoise_mmdet.cli.options import Pairs
from fnoise_mmdet.commands import start
from fnoise_mmdet.engine.checkpoint import WEIGHTS_ONLY
from fnoise_mmdet.errors import InputError


@pytest.fixture
def end(capsys, monkeypatch):
    """Run a command line that fails, and return its status and the last line that it prints."""
    for registry in (registry_utils.backends, registry_utils.prefix_to_backends):
        for name in ('local', ''):
            if name in registry:
                monkeypatch.setitem(registry, name, registry[name])
    monkeypatch.setattr(torch, 'load', torch.load)
    monkeypatch.setenv(WEIGHTS_ONLY, '0')

    def run(main):
        with pytest.raises(SystemExit) as caught:
            start.run(main)
        return caught.value.code, capsys.readouterr().err.strip()

    return run


@pytest.mark.parametrize(
    'number, status',
    [(errno.EROFS, 2), (errno.EACCES, 2), (errno.ENOTDIR, 2), (errno.ENOENT, 2), (errno.ENOSPC, 1), (errno.EIO, 1)],
)
def test_errors_of_the_file_system_are_one_line(end, number, status):
    def main():
        raise OSError(number, os.strerror(number), '/data/x')

    code, line = end(main)
    assert code == status and line.startswith(f'error: /data/x: {os.strerror(number)}; ') and '\n' not in line


def test_files_of_mmengine_are_whole_or_absent(end, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    code, line = end(lambda: dump([1, 2], tmp_path / 'x.json'))
    assert code == 1 and f'{tmp_path}/x.json: No space left on device' in line
    assert not list(Path(tmp_path).iterdir())


def test_lack_of_memory_is_one_line(end):
    def main():
        raise MemoryError('Unable to allocate 9 TiB')

    assert end(main) == (1, 'error: out of memory: Unable to allocate 9 TiB')


def test_lost_output_is_reported(end, monkeypatch):
    monkeypatch.setattr('sys.stdout.lost', OSError(errno.ENOSPC, 'No space left on device'), raising=False)
    code, line = end(lambda: None)
    assert code == 1 and line.startswith('error: No space left on device')


def test_values_are_read_as_mmengine_does():
    typed = ('a.json', Pairs(['x.y=1', 'z=[a,(2,3)]', 'x.y=2']))
    assert start.read_values([typed]) == [('a.json', {'x.y': 2, 'z': ['a', (2, 3)]})]
    assert start.read_values(Pairs()) == {} and start.read_values('a=1') == 'a=1'
    with pytest.raises(InputError, match=r'cannot read the values of x=\[\(1,2\]: '):
        start.read_values(Pairs(['x=[(1,2]']))
