import errno
import os
from pathlib import Path

import pytest
from mmengine.fileio import dump
from mmengine.fileio.backends import registry_utils

from fnoise_mmdet import cli


@pytest.fixture
def end(capsys, monkeypatch):
    """Run a command line that fails, and return its status and the last line that it prints."""
    for registry in (registry_utils.backends, registry_utils.prefix_to_backends):
        for name in ('local', ''):
            if name in registry:
                monkeypatch.setitem(registry, name, registry[name])

    def run(main):
        with pytest.raises(SystemExit) as caught:
            cli.run(main)
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
