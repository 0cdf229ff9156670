import errno
from pathlib import Path

import pytest
import torch

from fnoise_mmdet.engine.hooks import SafeCheckpointHook
from fnoise_mmdet.engine.hooks.safe_checkpoint import AtomicBackend


class Runner:
    """As much of a runner as the saving of checkpoints needs; its disk can be full."""

    epoch, iter, rank, distributed = 0, 0, 0, False
    is_full = False

    def __init__(self, work_dir):
        from mmengine.logging import MessageHub, MMLogger

        self.work_dir = str(work_dir)
        self.message_hub = MessageHub(f'{work_dir}')
        self.logger = MMLogger.get_instance('mmengine')
        self.seen = []  # which checkpoints are there when one is about to be saved

    def save_checkpoint(self, out_dir, filename, *args, meta, **kwargs):
        self.seen.append(names(out_dir))
        if self.is_full:
            raise OSError(errno.ENOSPC, 'No space left on device')
        torch.save(meta, Path(out_dir) / filename)


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


@pytest.fixture
def hook(runner):
    hook = SafeCheckpointHook(interval=1, max_keep_ckpts=1)
    hook.before_train(runner)
    return hook


def save_epochs(hook, runner, count):
    for _ in range(count):
        runner.iter += 4
        hook.after_train_epoch(runner)
        runner.epoch += 1


def test_the_old_checkpoint_is_removed_only_when_the_new_one_is_there(hook, runner):
    save_epochs(hook, runner, 3)
    assert runner.seen == [[], ['epoch_1.pth'], ['epoch_2.pth']]
    assert names(runner.work_dir) == ['epoch_3.pth']


def test_a_full_disk_leaves_the_old_checkpoint(hook, runner):
    save_epochs(hook, runner, 1)
    runner.is_full = True
    with pytest.raises(OSError, match='No space left'):
        save_epochs(hook, runner, 1)
    assert names(runner.work_dir) == ['epoch_1.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_resume_point_goes_with_the_next_checkpoint(hook, runner):
    save_epochs(hook, runner, 1)
    hook.save_resume_point(runner, epoch=1, iteration=6)
    assert names(runner.work_dir) == ['epoch_1.pth', 'resume.pth']
    assert torch.load(Path(runner.work_dir, 'resume.pth')) == dict(epoch=1, iter=6)
    save_epochs(hook, runner, 1)
    assert names(runner.work_dir) == ['epoch_2.pth']
    hook.save_resume_point(runner, epoch=2, iteration=8)
    assert names(runner.work_dir) == ['epoch_2.pth'], 'this state is saved already'


def test_iter_interval_saves_within_an_epoch(runner):
    hook = SafeCheckpointHook(interval=1, iter_interval=3)
    hook.before_train(runner)
    saved = []
    for runner.iter in range(7):
        hook.after_train_iter(runner, runner.iter)
        saved.append((Path(runner.work_dir) / 'resume.pth').is_file() and hook._saved)
    assert saved == [False, False, (0, 3), (0, 3), (0, 3), (0, 6), (0, 6)]
    with pytest.raises(ValueError, match='iter_interval must be >= 1, but got 0'):
        SafeCheckpointHook(interval=1, iter_interval=0)


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    backend = AtomicBackend()
    backend.put(b'old', tmp_path / 'folder/a.pth')
    assert (tmp_path / 'folder/a.pth').read_bytes() == b'old'

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'new', tmp_path / 'folder/a.pth')
    assert [path.name for path in (tmp_path / 'folder').iterdir()] == ['a.pth']
    assert (tmp_path / 'folder/a.pth').read_bytes() == b'old'
