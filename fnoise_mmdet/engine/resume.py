"""Checkpoint from which a training resumes, and the lock of its work dir."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..datasets.files import file_error, remove_partial_files
from ..errors import InputError, RunError
from .checkpoint_reader import CorruptCheckpointError, UnsafeCheckpointError, check_sums

RESUME_POINT = 'resume.pth'  # saved within an epoch, and when a training is stopped by a signal
POINTER = 'last_checkpoint'  # mmengine's file with the path of the last checkpoint
UNFINISHED_PREDICTIONS = 'predictions/.part'  # of a running validation
PATTERNS = ('epoch_*.pth', 'iter_*.pth', RESUME_POINT)


def find_checkpoints(work_dir: Path) -> list[Path]:
    """Return the checkpoints of a training, latest first, without the best_* ones."""
    found = {path.resolve() for pattern in PATTERNS for path in work_dir.glob(pattern)}
    if (work_dir / POINTER).is_file():
        found.add(pointed_checkpoint(work_dir).resolve())
    found = {path for path in found if path.is_file()}
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def pointed_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint in mmengine's last_checkpoint file, which may not exist.

    A file of its name in the work dir precedes its absolute path, which in a
    copied or moved work dir is that of the original.
    """
    # A system crash may leave zero bytes, which are invalid in paths.
    named = Path((work_dir / POINTER).read_text(encoding='utf-8', errors='replace').partition('\0')[0].strip())
    beside = work_dir / named.name
    return beside if beside.is_file() else named


def is_corrupt(path: Path) -> bool:
    """Return whether a checkpoint is truncated or corrupt, by its checksums."""
    try:
        check_sums(path)
    except CorruptCheckpointError:
        return True
    except UnsafeCheckpointError:  # reported when it is loaded
        pass
    return False


def latest_checkpoint(work_dir: Path) -> tuple[Path | None, list[Path]]:
    """Find the latest intact checkpoint.

    Returns:
        The checkpoint, None if there is none, and the corrupt ones saved after it.
    """
    corrupt: list[Path] = []
    for path in find_checkpoints(work_dir):
        if not is_corrupt(path):
            return path, corrupt
        corrupt.append(path)
    return None, corrupt


def resume_from(cfg: Config, checkpoint: str | None) -> None:
    """Make a config resume from a checkpoint, or from the latest intact one in its work dir.

    Corrupt checkpoints are reported. If there is no checkpoint, the training
    starts from the beginning.

    Raises:
        InputError: If the given checkpoint is corrupt.
    """
    if checkpoint is None:
        path, corrupt = latest_checkpoint(Path(cfg.work_dir))
        for skipped in corrupt:
            print(f'warning: checkpoint {skipped} is corrupt and was skipped')
        print(f'resuming from {path}' if path else f'{cfg.work_dir} has no checkpoint: starting from the beginning')
        checkpoint = str(path) if path else None
    elif Path(checkpoint).is_file() and is_corrupt(Path(checkpoint)):
        raise InputError(f'checkpoint {checkpoint} is corrupt: --resume without a file uses the latest intact one')
    cfg.resume = checkpoint is not None
    cfg.load_from = checkpoint or cfg.get('load_from')


def stopped(error: Exception, work_dir: Path) -> Exception:
    """Return an error with a hint at how to resume a failed training, or the same error if it is unknown."""
    what: object = error
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f'no space left on the disk of {work_dir}' if full else file_error(error)
    elif isinstance(error, RuntimeError):
        if 'PytorchStreamWriter' in str(error):  # torch.save, which hides the system error
            what = f'a file could not be written: {error}'
        elif 'gloo' in str(error):
            what = 'another process of this training has died or does not respond'
        else:
            return error
    path, _ = latest_checkpoint(work_dir)
    hint = (
        f'the last good checkpoint is {path}; resume from it with --resume' if path else 'no checkpoint was saved yet'
    )
    return RunError(f'{what}; {hint}')


def remove_unfinished(work_dir: Path) -> None:
    """Remove unfinished files of a killed training; the caller must hold the lock, see :func:`locked`.

    Not recursive, since a subfolder may be the work dir of another running training.
    """
    for folder in ('.', '*/vis_data', '*/vis_data/vis_image'):
        remove_partial_files(work_dir.glob(f'{folder}/.*.part'))
    shutil.rmtree(work_dir / UNFINISHED_PREDICTIONS, ignore_errors=True)


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Create the folder of a training or a study, and lock it within the block.

    Raises:
        InputError: If another process is using the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / '.lock').open('a') as lock:  # append, so that the target of a link is not truncated
        os.register_at_fork(after_in_child=lock.close)  # otherwise a worker would keep the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f'another process is using {out}: wait until it has ended, or stop it (see: fuser {out}/.lock)'
            ) from None
        yield
