"""Writing files and folders whole or not at all."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError


@contextlib.contextmanager
def staged_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out`` when the block succeeds.

    The temporary folder lies beside ``out``, on the same file system, so that
    the last step is a rename. When the block raises, or is interrupted,
    nothing is left behind, and a folder to replace is as it was.

    Args:
        out: Folder to appear. Without ``force`` it must not exist yet, or be empty.
        force: Whether to replace a folder that has something in it, once the
            new one is complete. Defaults to False.

    Raises:
        InputError: ``out`` is a file, a folder with something in it and not
            ``force``, or one that the command runs in.
    """
    out = out.resolve()  # a link stays, and leads to the new folder
    check_free(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        staging.chmod(0o755)  # mkdtemp's 0o700 would outlive the rename
        yield staging
        _replace(out, staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_free(out: Path, force: bool = False) -> None:
    """Raise InputError where :func:`staged_folder` would, before work that takes long."""
    out = out.resolve()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not force):
        raise InputError(
            f'{out} exists already and is left as it is; name another folder, remove it first, '
            'or, where the command has it, replace a folder with --force'
        )
    if out in (Path.cwd(), *Path.cwd().parents):
        raise InputError(f'{out} holds the folder that this command runs in, and cannot be replaced: name another one')


def _replace(out: Path, new: Path) -> None:
    """Put a folder in the place of another, which is removed when the new one is there."""
    if not (out.is_dir() and any(out.iterdir())):
        new.replace(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f'.{out.name}.old.', dir=out.parent))
    out.replace(old)
    try:
        new.replace(out)
    except BaseException:
        old.replace(out)
        raise
    shutil.rmtree(old)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file aside, see that it is on disk, and put it in its place; where that fails, nothing is changed."""
    aside = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with aside.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, making the file's folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')
