"""Writing a folder whole or not at all."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError


@contextlib.contextmanager
def staged_folder(out: Path, force: bool | None = None) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out`` when the block succeeds.

    The temporary folder lies beside ``out``, on the same file system, so that
    the last step is a rename. When the block raises, or is interrupted,
    nothing is left behind.

    Args:
        out: Folder to appear. It must not exist yet, or be empty, unless it may be replaced.
        force: Whether to replace a folder with something in it, which is
            removed only when the new one is there; None where the caller
            offers no such option. Defaults to None.

    Raises:
        InputError: ``out`` is a file, or a folder with something in it that must not be replaced.
    """
    is_taken = out.is_dir() and any(out.iterdir())
    if out.is_file() or (is_taken and not force):
        ways_on = 'name another folder, or remove it first' if force is None else 'name another folder, or add --force'
        raise InputError(f'{out} exists already and is left as it is; {ways_on}')
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        staging.chmod(0o755)  # mkdtemp's 0o700 would outlive the rename
        yield staging
        if is_taken:
            old = Path(tempfile.mkdtemp(prefix=f'.{out.name}.old.', dir=out.parent))
            out.replace(old)
            staging.replace(out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            staging.replace(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, making the file's folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')
