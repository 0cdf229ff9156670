import errno
import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import dump
from mmengine.fileio.backends import registry_utils

from fnoise_mmdet import cli
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


def test_lack_of_memory_is_one_line(end):
    def main():
        raise MemoryError('Unable to allocate 9 TiB')

    assert end(main) == (1, 'error: out of memory: Unable to allocate 9 TiB')


def test_output_that_was_lost_is_told(end, monkeypatch):
    monkeypatch.setattr('sys.stdout.lost', OSError(errno.ENOSPC, 'No space left on device'), raising=False)
    code, line = end(lambda: None)
    assert code == 1 and line.startswith('error: No space left on device')


def test_names_are_shown_without_markup(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    cli.console().print('a[/b] [bold]c :smile:')
    assert list(cli.show_progress([1], 'd[/e]')) == [1]
    shown = capsys.readouterr().out
    assert 'a[/b] [bold]c :smile:' in shown and 'd[/e]' in shown


def test_the_learning_rate_is_scaled_for_the_batch_that_it_is_meant_for(root, shapes):
    cfg = Config.fromfile(root / 'configs/demo_baseline.py')
    args = Namespace(from_scratch=False, amp=False, auto_scale_lr=True, data_root=str(shapes), semi=None)
    cli.apply_training_options(cfg, args)
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=4)
    cfg.pop('auto_scale_lr')
    with pytest.raises(InputError, match=r'which --auto-scale-lr needs: add auto_scale_lr=dict\(base_batch_size'):
        cli.apply_training_options(cfg, args)
