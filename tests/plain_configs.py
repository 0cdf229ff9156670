"""Disable the formatting of configs, which takes longer than the trainings of most tests.

mmengine formats the config of a training again for its log, its visualizer, and each of its checkpoints.
"""

from yapf.yapflib import yapf_api


def _unformatted(text: str, **_: object) -> tuple[str, bool]:
    return text, False


yapf_api.FormatCode = _unformatted
