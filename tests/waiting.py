"""Wait for processes to end."""

import time
from pathlib import Path


def is_running(pid: int) -> bool:
    """Return whether a process exists, and is no zombie."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def wait_for_end(pid: int, seconds: float = 5) -> None:
    """Wait for the end of a process, which must come within some seconds."""
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
