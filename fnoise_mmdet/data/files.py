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
def staged_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out`` when the block succeeds.

    The temporary folder lies beside ``out``, on the same file system, so that
    the last step is a rename. When the block raises, or is interrupted,
    nothing is left behind.

    Args:
        out: Folder to appear. It must not exist yet, or be empty.

    Raises:
        InputError: ``out`` is a file, or a folder with something in it.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f'{out} exists already and is left as it is; name another folder, or remove it first')
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        staging.chmod(0o755)  # mkdtemp's 0o700 would outlive the rename
        yield staging
        staging.replace(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, making the file's folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')
