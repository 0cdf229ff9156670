"""Atomic writes of files and folders, and one-line messages of file errors."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from ..errors import InputError

T = TypeVar('T')
STAGING, REPLACED = '.staging', '.replaced'  # suffixes of the new and the replaced folder, next to it
PART = re.compile(r'\..+\.\d+\.part')
# Failures of a disk or a network during the run; all other errors are about an unusable path.
FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.ESTALE, errno.EMFILE, errno.ENFILE)
ADVICE = {
    errno.ENOSPC: 'free some space, or use a path on another disk',
    errno.EDQUOT: 'free some space, or use a path on another disk',
    errno.EIO: 'the disk or its connection is faulty; use a path on another disk',
    errno.EROFS: 'use a path on a writable disk',
    errno.EACCES: 'change its permissions, or use another path',
    errno.EPERM: 'change its permissions, or use another path',
    errno.ENOENT: 'check the path',
    errno.ENOTDIR: 'a component of the path is a file; use another path',
    errno.EISDIR: 'use a file, not a folder',
    errno.EEXIST: 'a file or a dangling link exists there; use another path',
    errno.ENAMETOOLONG: 'use a shorter path',
    errno.ELOOP: 'its links form a loop; use another path',
}


def file_error(error: OSError) -> str:
    """Return a one-line message: the file, the error, and the remedy."""
    if not error.errno:  # of Pillow, urllib, or a data loader worker (a stack trace that ends with the message)
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    path = error.filename2 or error.filename  # target of a copy or a rename
    advice = ADVICE.get(error.errno)
    return (f'{path}: ' if path else '') + os.strerror(error.errno) + (f'; {advice}' if advice else '')


@contextlib.contextmanager
def _errors_name(path: Path, aside: Path) -> Iterator[None]:
    """Report errors of temporary files under the path that the user knows.

    Args:
        path: The path that the user knows.
        aside: The temporary one, or its beginning before a random name.
    """
    temporary = re.compile(re.escape(str(aside)) + f'([a-z0-9_]{{8}}{re.escape(STAGING)})?')
    try:
        yield
    except OSError as error:
        for name in ('filename', 'filename2'):
            if getattr(error, name) is not None:
                setattr(error, name, temporary.sub(lambda _: str(path), str(getattr(error, name)), count=1))
        if error.filename is None and error.errno in FAILURES:  # from writing to an open file
            error.filename = str(path)
        raise


def check_writable(folder: Path) -> None:
    """Check that a folder can be created or written to, before long work.

    Raises:
        InputError: If it cannot; the message names the path and the reason.
    """
    there, reason = existing_parent(folder), None
    if not there.is_dir():
        reason = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    if reason:
        error = OSError(reason, '', None if there == folder.absolute() else str(there))
        raise InputError(f'{folder} cannot be written to: {file_error(error)}')


def existing_parent(path: Path) -> Path:
    """Return a path or its nearest existing parent; raise InputError if it cannot be resolved."""
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
def staged_folder(out: Path, force: bool | None = None, inputs: Iterable[str | Path] = ()) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to ``out`` if the block succeeds.

    The temporary folder is next to ``out``, on the same file system. If the
    block raises or is interrupted, it is removed, and an existing ``out`` is
    unchanged.

    Args:
        out: Folder to create. Without ``force`` it must be empty or not exist.
        force: Whether to replace a non-empty folder once the new one is
            complete. Defaults to None, for a command without ``--force``.
        inputs: Files and folders that the caller reads, which ``out`` must not contain.

    Raises:
        InputError: If ``out`` is a file, a non-empty folder without ``force``,
            contains the current directory or an input, or cannot be written to.
    """
    _recover(out)
    check_free(out, force)
    out = out.resolve()  # keep a link, and replace its target
    for path in map(Path, inputs):
        if path.resolve().is_relative_to(out):
            raise InputError(
                f'{out} contains {path}, which this command reads, and cannot be replaced: use another folder'
            )
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
    """Lock a folder until the process ends; return the lock to close, None if another process holds it."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or a file system without locks
        os.close(opened)
        return None
    return opened


def _recover(out: Path) -> None:
    """Clean up after killed processes, unless another process is working on the folder."""
    existing_parent(out)
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
            else:  # killed between the two renames
                path.replace(out)
        for path in left[STAGING]:
            shutil.rmtree(path, ignore_errors=True)
    for opened in held:
        if opened is not None:
            os.close(opened)


def check_free(out: Path, force: bool | None = None) -> None:
    """Raise the InputError of :func:`staged_folder` early, before long work."""
    existing_parent(out)  # a loop of links cannot be resolved
    out = out.resolve()
    check_writable(out.parent)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not force):
        replace = ', or replace it with --force' if force is False and out.is_dir() else ''
        raise InputError(f'{out} already exists and is not changed; use another folder, or remove it first{replace}')
    if out in (Path.cwd(), *Path.cwd().parents):
        raise InputError(f'{out} contains the current directory and cannot be replaced: use another folder')


def _replace(out: Path, new: Path, force: bool | None) -> None:
    """Rename a folder to another, which is replaced with ``force``."""
    if not force or not (out.is_dir() and any(out.iterdir())):  # fails if it is no longer empty
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
    """Return a file name, or a hash of it if an affix would make it too long for the file system."""
    return name if len(os.fsencode(name)) < 220 else hashlib.sha256(os.fsencode(name)).hexdigest()


def is_partial_file(path: Path) -> bool:
    """Return whether a file is an unfinished one of :func:`write_atomically`."""
    return PART.fullmatch(path.name) is not None


def remove_partial_files(paths: Iterable[Path]) -> None:
    """Remove unfinished files of killed processes among ``paths``.

    The caller must make sure that no process is writing there.
    """
    for path in filter(is_partial_file, paths):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file, sync it to disk and rename it; on failure nothing is changed."""
    aside = path.with_name(f'.{_short(path.name)}.{os.getpid()}.part')
    try:
        with _errors_name(path, aside):
            with aside.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # keep the first exception
            aside.unlink(missing_ok=True)
        raise


def read_json(path: Path, fault: str, parse: Callable[[Any], T]) -> T:
    """Read a JSON file, whoever has written it.

    Args:
        path: The file.
        fault: What is wrong with another file, such as ``'is not the record of a run'``.
        parse: Converts the content, and raises any ordinary exception if it is invalid.

    Raises:
        InputError: If it cannot be read, is not JSON, or has other content.
    """
    try:
        return parse(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f'{path} {fault}: {_reason(error)}') from None


def _reason(error: Exception) -> str:
    """Return why a file cannot be read as JSON, or parsed, without the names of Python's exceptions."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error)
    if isinstance(error, json.JSONDecodeError):
        return f'it is not valid JSON: {error}'
    if isinstance(error, UnicodeDecodeError):
        return 'it is not text in UTF-8'
    if isinstance(error, RecursionError):
        return 'it is nested too deeply'
    if isinstance(error, KeyError):
        return f'{error} is missing or unknown'
    return str(error) if isinstance(error, ValueError) else 'its content has another structure'


def require(condition: bool, rule: str) -> None:
    """Raise ValueError with a rule that a file breaks, unless the condition holds."""
    if not condition:
        raise ValueError(rule)


def is_number(value: object) -> bool:
    """Return whether a value of a JSON file is a number that fits into a float, NaN and Inf included."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def is_finite(value: object) -> bool:
    """Return whether a value of a JSON file is a finite number that fits into a float."""
    return is_number(value) and math.isfinite(value)  # type: ignore[arg-type]


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, and create the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content).encode())


def encode_png(image: np.ndarray) -> bytes:
    """Encode an RGB image, uint8 (H, W, 3), as PNG.

    Raises:
        ValueError: If OpenCV cannot encode it.
    """
    encoded, content = cv2.imencode('.png', np.ascontiguousarray(image[..., ::-1]))
    if not encoded:
        raise ValueError(f'OpenCV cannot encode an image of shape {image.shape} and type {image.dtype}')
    return content.tobytes()


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write an RGB image, uint8 (H, W, 3), as PNG into an existing folder.

    Raises OSError on a full disk, where ``cv2.imwrite`` only returns False.
    """
    with _errors_name(path, path):
        path.write_bytes(encode_png(image))
