import errno
import multiprocessing
import os
import shutil
import time
import zipfile

import pytest
import torch
from mmengine.config import Config

from fnoise_mmdet.engine.checkpoint import load_checkpoint
from fnoise_mmdet.engine.resume import (
    find_checkpoints,
    is_corrupt,
    latest_checkpoint,
    locked,
    pointed_checkpoint,
    remove_unfinished,
    resume_from,
    stopped,
)
from fnoise_mmdet.errors import InputError, RunError


@pytest.fixture
def work_dir(tmp_path):
    """Checkpoints of three epochs and the best one, saved in this order."""
    for second, name in enumerate(['epoch_8.pth', 'epoch_9.pth', 'best_val_loss_epoch_9.pth', 'epoch_10.pth']):
        torch.save(dict(weight=torch.rand(100)), tmp_path / name)
        os.utime(tmp_path / name, (second, second))
    return tmp_path


def tear(path):
    stamp = path.stat().st_mtime
    path.write_bytes(path.read_bytes()[:-50])
    os.utime(path, (stamp, stamp))


def test_the_last_checkpoint_is_the_one_saved_last(work_dir):
    assert [path.name for path in find_checkpoints(work_dir)] == ['epoch_10.pth', 'epoch_9.pth', 'epoch_8.pth']
    assert latest_checkpoint(work_dir) == (work_dir / 'epoch_10.pth', [])


def test_corrupt_checkpoint_is_skipped(work_dir, capsys):
    tear(work_dir / 'epoch_10.pth')
    (work_dir / 'epoch_9.pth').write_bytes(b'')
    os.utime(work_dir / 'epoch_9.pth', (1, 1))
    assert latest_checkpoint(work_dir) == (
        work_dir / 'epoch_8.pth', [work_dir / 'epoch_10.pth', work_dir / 'epoch_9.pth'],
    )  # fmt: skip
    cfg = Config(dict(work_dir=str(work_dir), load_from=None))
    resume_from(cfg, None)
    assert cfg.resume and cfg.load_from == str(work_dir / 'epoch_8.pth')
    assert 'epoch_10.pth is corrupt and was skipped' in capsys.readouterr().out


def test_a_flipped_bit_is_noticed(work_dir):
    path = work_dir / 'epoch_10.pth'
    content = bytearray(path.read_bytes())
    assert not is_corrupt(path)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert is_corrupt(path)


def test_a_copied_work_dir_has_its_own_checkpoints(work_dir, tmp_path_factory):
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_10.pth'))
    copy = shutil.copytree(work_dir, tmp_path_factory.mktemp('copy') / 'run')
    (copy / 'epoch_10.pth').unlink()
    (copy / 'last_checkpoint').write_text(str(work_dir / 'epoch_9.pth'))
    assert pointed_checkpoint(copy) == copy / 'epoch_9.pth' and latest_checkpoint(copy)[0] == copy / 'epoch_9.pth'
    elsewhere = tmp_path_factory.mktemp('disk') / 'epoch_11.pth'
    shutil.copy(work_dir / 'epoch_10.pth', elsewhere)
    (copy / 'last_checkpoint').write_text(str(elsewhere))
    assert pointed_checkpoint(copy) == elsewhere


@pytest.mark.parametrize('content', [bytes(20), b'epoch_9.pth\0', b'\xff\xfe', b''])
def test_pointer_that_a_crash_has_damaged_is_no_obstacle(work_dir, content):
    (work_dir / 'last_checkpoint').write_bytes(content)
    assert latest_checkpoint(work_dir)[0] == work_dir / 'epoch_10.pth'


def test_bomb_is_not_unpacked_to_compare_its_checksums(work_dir, monkeypatch):
    path = work_dir / 'epoch_9.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(2**24))
    monkeypatch.setattr(zipfile.ZipFile, 'open', None)
    assert not is_corrupt(path)  # but refused where it is loaded
    with pytest.raises(InputError, match='holds more than weights and plain data .compressed records'):
        load_checkpoint(str(path))


def test_nothing_to_resume_begins(tmp_path, capsys):
    (tmp_path / 'last_checkpoint').write_text('')
    cfg = Config(dict(work_dir=str(tmp_path), load_from='weights.pth'))
    resume_from(cfg, None)
    assert cfg.resume is False and cfg.load_from == 'weights.pth'
    assert 'has no checkpoint: starting from the beginning' in capsys.readouterr().out


def test_a_checkpoint_kept_elsewhere_is_found_by_its_name(work_dir, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'last_checkpoint').write_text(str(work_dir / 'epoch_9.pth'))
    assert latest_checkpoint(other) == (work_dir / 'epoch_9.pth', [])


def test_explicit_corrupt_checkpoint_is_rejected(work_dir):
    tear(work_dir / 'epoch_9.pth')
    with pytest.raises(InputError, match=r'epoch_9.pth is corrupt: --resume without a file uses the latest intact one'):
        resume_from(Config(dict(work_dir=str(work_dir))), str(work_dir / 'epoch_9.pth'))


def test_stop_message_says_how_to_resume(work_dir, tmp_path_factory):
    full = stopped(OSError(errno.ENOSPC, 'No space left on device'), work_dir)
    assert isinstance(full, RunError) and 'no space left' in str(full) and 'epoch_10.pth; resume' in str(full)
    assert 'no checkpoint was saved yet' in str(
        stopped(FloatingPointError('loss is nan'), tmp_path_factory.mktemp('a'))
    )
    lost = stopped(RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer'), work_dir)
    assert isinstance(lost, RunError) and str(lost).startswith('another process of this training has died')
    read_only = stopped(OSError(errno.EROFS, 'Read-only file system', f'{work_dir}/run.json'), work_dir)
    assert isinstance(read_only, RunError) and f'{work_dir}/run.json: Read-only file system' in str(read_only)
    unsaved = stopped(RuntimeError('[enforce fail at inline_container.cc] PytorchStreamWriter failed'), work_dir)
    assert isinstance(unsaved, RunError) and str(unsaved).startswith('a file could not be written')
    other = RuntimeError('shapes do not match')
    assert stopped(other, work_dir) is other


def test_two_are_not_at_work_in_one_folder(tmp_path):
    with locked(tmp_path / 'run'), pytest.raises(InputError, match='another process is using'):
        locked(tmp_path / 'run').__enter__()
    with locked(tmp_path / 'run'):
        pass


def test_lock_is_not_held_by_a_worker_and_empties_no_file(tmp_path):
    (tmp_path / 'mine').write_text('mine')
    (tmp_path / '.lock').symlink_to('mine')
    with locked(tmp_path):
        started = multiprocessing.Event()
        worker = multiprocessing.get_context('fork').Process(target=lambda: started.set() or time.sleep(60))
        worker.start()
        started.wait()
    try:
        with locked(tmp_path):
            pass
    finally:
        worker.kill()
    assert (tmp_path / 'mine').read_text() == 'mine'


def test_what_a_killed_training_was_writing_is_removed(tmp_path):
    left = [
        '.resume.pth.7.part',
        '1/vis_data/.scalars.json.7.part',
        '1/vis_data/vis_image/.feature_maps_train_1.png.7.part',
        'predictions/.part/results.bbox.json',
    ]
    others = ['epoch_1.pth', 'other_run/.resume.pth.7.part']  # a run inside, which has a lock of its own
    for name in [*others, *left]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if not path.is_dir())
    assert files == others
