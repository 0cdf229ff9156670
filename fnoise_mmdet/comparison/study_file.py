"""``study.json``, the file with the conditions of a study and the commands that created it."""

import json
from pathlib import Path
from typing import Any

STUDY_FILE = 'study.json'


def read_study_file(out: Path) -> dict[str, Any]:
    """Read the file of a study.

    Raises:
        OSError, ValueError: If it is not found or not JSON.
    """
    content: dict[str, Any] = json.loads((out / STUDY_FILE).read_text(encoding='utf-8'))
    return content


def study_command(work_dir: Path) -> str | None:
    """Return the command that started the study of a work dir, None if it belongs to none.

    A study that was extended has one line per command.
    """
    return _study_or_nothing(work_dir.absolute().parent.parent).get('command')


def study_conditions(out: Path) -> list[str]:
    """Return the conditions of a study in their original order, none if the folder is not a study."""
    return list(_study_or_nothing(out).get('conditions', []))


def _study_or_nothing(out: Path) -> dict[str, Any]:
    try:
        content = read_study_file(out)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}  # else a file of another program
