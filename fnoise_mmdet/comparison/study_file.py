"""``study.json``, in which a study keeps its conditions and the commands that made it."""

import json
from pathlib import Path
from typing import Any

STUDY_FILE = 'study.json'


def read_study_file(out: Path) -> dict[str, Any]:
    """Read the file of a study.

    Raises:
        OSError, ValueError: There is none, or it is not JSON.
    """
    content: dict[str, Any] = json.loads((out / STUDY_FILE).read_text(encoding='utf-8'))
    return content


def study_command(work_dir: Path) -> str | None:
    """Return the command that began the study of a work dir, None where it belongs to none.

    A study that has grown has one line for each command that added to it.
    """
    return _study_or_nothing(work_dir.absolute().parent.parent).get('command')


def study_conditions(out: Path) -> list[str]:
    """Return the conditions of a study in the order in which it was begun, none where a folder is no study."""
    return list(_study_or_nothing(out).get('conditions', []))


def _study_or_nothing(out: Path) -> dict[str, Any]:
    try:
        content = read_study_file(out)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}  # else study.json is of something else
