"""A folder for what packages cache, where the user's own cannot be written to.

In a container that runs as any user, neither HOME nor the installation may be
writable. Numba then ends with an error when packages with compiled functions
are imported, and matplotlib, torch and Triton warn or fail. So this is
imported before them, and imports nothing but Python's standard library.
"""

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path


def provide_caches() -> None:
    """Name a temporary folder in the environment where the folder that caches are in cannot be written to."""
    if _can_be_written(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')):
        return
    try:
        folder = _private_folder()
    except OSError:  # there is no place for temporary files either
        return
    os.environ['XDG_CACHE_HOME'] = str(folder)  # of Numba, torch and mmengine
    for variable, name in (('MPLCONFIGDIR', 'matplotlib'), ('TRITON_CACHE_DIR', 'triton')):
        if not (variable in os.environ and _can_be_written(os.environ[variable])):
            os.environ[variable] = str(folder / name)


def _can_be_written(folder: str) -> bool:
    """Return whether a folder is there, or can be made, and takes files."""
    try:
        there = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    except OSError:  # nor be looked at
        return False
    # A relative one begins with ~, of a user who has no home.
    return os.path.isabs(folder) and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _private_folder() -> Path:
    """Return the temporary folder of this user, or one of this process where somebody else may write to that one.

    What is cached is code: it must not be another user's.
    """
    folder = Path(tempfile.gettempdir(), f'fnoise_mmdet_{os.geteuid()}')
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return folder
    own = Path(tempfile.mkdtemp(prefix='fnoise_mmdet_'))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own
