"""``study.json``, the file with the conditions of a study and the commands that created it."""

from pathlib import Path
from typing import Any

from ..datasets.files import read_json, require
from ..errors import InputError

STUDY_FILE = 'study.json'


def read_study_file(out: Path) -> dict[str, Any]:
    """Read the file of a study.

    Raises:
        InputError: If it is not found, or another file.
    """

    def parse(content: Any) -> dict[str, Any]:
        require(all(isinstance(name, str) for name in content['conditions']), 'conditions must be a list of names')
        require(isinstance(content['command'], str), 'command must be text')
        return content

    return read_json(out / STUDY_FILE, 'is not the file of a study', parse)


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
        return read_study_file(out)
    except InputError:  # none, or a file of another program
        return {}
