"""Writing files and folders whole or not at all, and saying in one line why a file cannot be used."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import InputError

STAGING, REPLACED = '.staging', '.replaced'  # suffixes of folders beside the one that they become, or were
PART = re.compile(r'\..+\.\d+\.part')
# A disk or a network that fails during the work, whatever path was named; all else is a path that cannot be used.
FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.ESTALE, errno.EMFILE, errno.ENFILE)
ADVICE = {
    errno.ENOSPC: 'free some space, or name a path on another disk',
    errno.EDQUOT: 'free some space, or name a path on another disk',
    errno.EIO: 'the disk or its connection is faulty; name a path on another disk',
    errno.EROFS: 'name a path on a disk that can be written to',
    errno.EACCES: 'change its permissions, or name another path',
    errno.EPERM: 'change its permissions, or name another path',
    errno.ENOENT: 'check the path',
    errno.ENOTDIR: 'a part of the path is a file; name another path',
    errno.EISDIR: 'name a file',
    errno.EEXIST: 'a file or a dangling link is in the way; name another path',
    errno.ENAMETOOLONG: 'name a shorter path',
    errno.ELOOP: 'its links lead in a circle; name another path',
}


def file_error(error: OSError) -> str:
    """Return in one line which file cannot be used, why, and what to do."""
    if not error.errno:  # Pillow's and urllib's, and those of a data loader's worker: a stack trace, the message last
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    path = error.filename2 or error.filename  # of a copy or a rename, its target
    advice = ADVICE.get(error.errno)
    return (f'{path}: ' if path else '') + os.strerror(error.errno) + (f'; {advice}' if advice else '')


@contextlib.contextmanager
def _errors_name(path: Path, aside: Path) -> Iterator[None]:
    """Have the errors of temporary files name the path that the user knows."""
    try:
        yield
    except OSError as error:
        for name in ('filename', 'filename2'):
            if getattr(error, name) is not None:
                setattr(error, name, str(getattr(error, name)).replace(str(aside), str(path), 1))
        if error.filename is None and error.errno in FAILURES:  # of writing to a file that is open
            error.filename = str(path)
        raise


def check_writable(folder: Path) -> None:
    """Check that a folder can be made or written to, before work that takes long.

    Raises:
        InputError: It cannot; the message names the path and the reason.
    """
    there, reason = _existing(folder), None
    if not there.is_dir():
        reason = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    if reason:
        error = OSError(reason, '', None if there == folder.absolute() else str(there))
        raise InputError(f'{folder} cannot be written to: {file_error(error)}')


def _existing(path: Path) -> Path:
    """Return a path, or the nearest of its parents that is there; raise InputError where it cannot be looked up."""
    for there in (path.absolute(), *path.absolute().parents):
        try:
            there.stat()
            break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f'{path} cannot be written to: {file_error(error)}') from None
    return there


@contextlib.contextmanager
def staged_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``out`` when the block succeeds.

    The temporary folder lies beside ``out``, on the same file system, so that
    the last step is a rename. When the block raises, or is interrupted,
    nothing is left behind, and a folder to replace is as it was.

    Args:
        out: Folder to appear. Without ``force`` it must not exist yet, or be empty.
        force: Whether to replace a folder that has something in it, once the
            new one is complete. Defaults to False.

    Raises:
        InputError: ``out`` is a file, a folder with something in it and not
            ``force``, one that the command runs in, or cannot be written to.
    """
    _recover(out)
    check_free(out, force)
    out = out.resolve()  # a link stays, and leads to the new folder
    prefix = f'.{_short(out.name)}.'
    with _errors_name(out, out.parent / prefix):
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=prefix, suffix=STAGING, dir=out.parent))
    held = _hold(staging)
    try:
        with _errors_name(out, staging):
            staging.chmod(0o755)  # mkdtemp's 0o700 would outlive the rename
            yield staging
            _replace(out, staging, force)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Lock a folder until the process ends; return what to close, or None where another process holds it."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        os.close(opened)
        return None
    return opened


def _recover(out: Path) -> None:
    """Undo what killed processes have left of their work on a folder, unless another process is at work on it."""
    _existing(out)
    out = out.resolve()
    if not os.access(out.parent, os.W_OK | os.X_OK):
        return
    stem = re.escape(f'.{_short(out.name)}.') + r'[a-z0-9_]{8}'
    folders = [path for path in out.parent.iterdir() if path.is_dir() and not path.is_symlink()]
    left = {
        suffix: [path for path in folders if re.fullmatch(stem + re.escape(suffix), path.name)]
        for suffix in (STAGING, REPLACED)
    }
    held = [_hold(path) for path in left[STAGING]]
    if None not in held:
        for path in left[REPLACED]:
            if out.exists() or not any(path.iterdir()):
                shutil.rmtree(path, ignore_errors=True)
            else:  # killed before the new folder was in its place
                path.replace(out)
        for path in left[STAGING]:
            shutil.rmtree(path, ignore_errors=True)
    for opened in held:
        if opened is not None:
            os.close(opened)


def check_free(out: Path, force: bool = False) -> None:
    """Raise InputError where :func:`staged_folder` would, before work that takes long."""
    _existing(out)  # a circle of links cannot be resolved
    out = out.resolve()
    check_writable(out.parent)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not force):
        raise InputError(
            f'{out} exists already and is left as it is; name another folder, remove it first, '
            'or, where the command has it, replace a folder with --force'
        )
    if out in (Path.cwd(), *Path.cwd().parents):
        raise InputError(f'{out} holds the folder that this command runs in, and cannot be replaced: name another one')


def _replace(out: Path, new: Path, force: bool) -> None:
    """Put a folder in the place of another, which with ``force`` is removed when the new one is there."""
    if not force or not (out.is_dir() and any(out.iterdir())):  # else refused where it has got content meanwhile
        new.replace(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f'.{_short(out.name)}.', suffix=REPLACED, dir=out.parent))
    out.replace(old)
    try:
        new.replace(out)
    except BaseException:
        old.replace(out)
        raise
    shutil.rmtree(old)


def _short(name: str) -> str:
    """Return a file name, or what stands for it where an affix would make it too long for a file system."""
    return name if len(os.fsencode(name)) < 220 else hashlib.sha256(os.fsencode(name)).hexdigest()


def is_part(path: Path) -> bool:
    """Return whether a file is one that :func:`write_atomically` has not finished."""
    return PART.fullmatch(path.name) is not None


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove the unfinished files among ``paths``, which a killed process has left.

    The caller sees to it that no process is at work there.
    """
    for path in filter(is_part, paths):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file aside, see that it is on disk, and put it in its place; where that fails, nothing is changed."""
    aside = path.with_name(f'.{_short(path.name)}.{os.getpid()}.part')
    try:
        with _errors_name(path, aside):
            with aside.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what was raised first is what matters
            aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, making the file's folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content).encode())


def encode_png(image: np.ndarray) -> bytes:
    """Return a picture, uint8 (H, W, 3) in RGB, as the content of a PNG file."""
    encoded, content = cv2.imencode('.png', np.ascontiguousarray(image[..., ::-1]))
    if not encoded:
        raise ValueError(f'OpenCV cannot encode a picture of shape {image.shape} and type {image.dtype}')
    return content.tobytes()


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3) in RGB, as PNG, into a folder that is there.

    ``cv2.imwrite`` says by its result alone that the disk is full; this raises OSError.
    """
    with _errors_name(path, path):
        path.write_bytes(encode_png(image))
