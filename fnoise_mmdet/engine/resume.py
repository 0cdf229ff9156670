"""Which checkpoint a training goes on from, and that no two are at work in one folder."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..datasets.files import file_error, remove_parts
from ..errors import InputError, RunError
from .checkpoint_reader import CorruptCheckpointError, UnsafeCheckpointError, check_sums

RESUME_POINT = 'resume.pth'  # saved within an epoch, and when a training is told to stop
POINTER = 'last_checkpoint'  # mmengine's, to a checkpoint that may be kept elsewhere
UNFINISHED_PREDICTIONS = 'predictions/.part'  # of a validation, until it has ended
PATTERNS = ('epoch_*.pth', 'iter_*.pth', RESUME_POINT)


def find_checkpoints(work_dir: Path) -> list[Path]:
    """Return the checkpoints of a training, the one that was saved last first; those named best are left out."""
    found = {path.resolve() for pattern in PATTERNS for path in work_dir.glob(pattern)}
    if (work_dir / POINTER).is_file():
        found.add(pointed_checkpoint(work_dir).resolve())
    found = {path for path in found if path.is_file()}
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def pointed_checkpoint(work_dir: Path) -> Path:
    """Return the path that mmengine's pointer in a work dir names; there may be no such file."""
    # A crash of the machine may leave bytes of zero, which are in no path.
    return Path((work_dir / POINTER).read_text(encoding='utf-8', errors='replace').partition('\0')[0].strip())


def is_torn(path: Path) -> bool:
    """Return whether a checkpoint is cut off or otherwise damaged, by its checksums."""
    try:
        check_sums(path)
    except CorruptCheckpointError:
        return True
    except UnsafeCheckpointError:  # is named where it is loaded
        pass
    return False


def latest_checkpoint(work_dir: Path) -> tuple[Path | None, list[Path]]:
    """Find the checkpoint to go on from: the last one that is whole.

    Returns:
        The checkpoint, None where there is none, and those saved after it that
        are torn.
    """
    torn: list[Path] = []
    for path in find_checkpoints(work_dir):
        if not is_torn(path):
            return path, torn
        torn.append(path)
    return None, torn


def resume_from(cfg: Config, checkpoint: str | None) -> None:
    """Have a config go on from a checkpoint, or from the last one in its work dir that is whole.

    Checkpoints that are torn are named. Where there is none to go on from, the
    training begins.

    Raises:
        InputError: The checkpoint that was named is torn.
    """
    if checkpoint is None:
        path, torn = latest_checkpoint(Path(cfg.work_dir))
        for damaged in torn:
            print(f'warning: checkpoint {damaged} is torn and is left out')
        print(f'going on from {path}' if path else f'{cfg.work_dir} has no checkpoint: the training begins')
        checkpoint = str(path) if path else None
    elif Path(checkpoint).is_file() and is_torn(Path(checkpoint)):
        raise InputError(f'checkpoint {checkpoint} is torn: --resume without its name takes the last one that is whole')
    cfg.resume = checkpoint is not None
    cfg.load_from = checkpoint or cfg.get('load_from')


def stopped(error: Exception, work_dir: Path) -> Exception:
    """Return the error that says how to go on after a training could not, or the same where that is not known."""
    what: object = error
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f'no space is left on the disk of {work_dir}' if full else file_error(error)
    elif isinstance(error, RuntimeError):
        if 'PytorchStreamWriter' in str(error):  # torch.save into a file, which hides the system's error
            what = f'a file could not be written: {error}'
        elif 'gloo' in str(error):
            what = 'another process of this training is gone, or does not answer'
        else:
            return error
    path, _ = latest_checkpoint(work_dir)
    way_on = f'the last good checkpoint is {path}; --resume goes on from it' if path else 'no checkpoint was saved yet'
    return RunError(f'{what}; {way_on}')


def remove_unfinished(work_dir: Path) -> None:
    """Remove what a killed training was writing; the caller holds the work dir, see :func:`locked`.

    Only where a training writes: a folder inside may be the work dir of another one that is running.
    """
    for folder in ('.', '*/vis_data', '*/vis_data/vis_image'):
        remove_parts(work_dir.glob(f'{folder}/.*.part'))
    shutil.rmtree(work_dir / UNFINISHED_PREDICTIONS, ignore_errors=True)


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder of a training or a study, and keep other processes out of it until the block is left.

    Raises:
        InputError: Another process is at work in the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / '.lock').open('a') as lock:  # not to empty what a link in a folder from elsewhere leads to
        os.register_at_fork(after_in_child=lock.close)  # a worker would hold it for as long as it takes to kill it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f'another process is at work in {out}: wait until it has ended, or stop it (see: fuser {out}/.lock)'
            ) from None
        yield
