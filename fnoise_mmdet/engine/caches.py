"""Fallback cache folder if the user's cache is not writable.

In a container with an arbitrary user, neither HOME nor the installation may be
writable. Numba then fails on import of packages with compiled functions, and
matplotlib, torch and Triton warn or fail. This module is therefore imported
before them, and only uses the standard library.
"""

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path


def provide_caches() -> None:
    """Set the cache folder to a temporary one if the default is not writable."""
    if _can_be_written(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')):
        return
    try:
        folder = _private_folder()
    except OSError:  # no writable temporary folder either
        return
    os.environ['XDG_CACHE_HOME'] = str(folder)  # read by Numba, torch and mmengine
    for variable, name in (('MPLCONFIGDIR', 'matplotlib'), ('TRITON_CACHE_DIR', 'triton')):
        if not (variable in os.environ and _can_be_written(os.environ[variable])):
            os.environ[variable] = str(folder / name)


def _can_be_written(folder: str) -> bool:
    """Return whether a folder exists or can be created, and is writable."""
    try:
        there = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    except OSError:  # not accessible
        return False
    # A relative path starts with ~ of a user without home.
    return os.path.isabs(folder) and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _private_folder() -> Path:
    """Return a temporary folder of this user, or of this process if another user could write to the former.

    Caches contain code, which must not come from another user.
    """
    folder = Path(tempfile.gettempdir(), f'fnoise_mmdet_{os.geteuid()}')
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return folder
    own = Path(tempfile.mkdtemp(prefix='fnoise_mmdet_'))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own
