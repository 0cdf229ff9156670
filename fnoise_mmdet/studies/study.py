"""A paired study: the same training under several conditions, over several seeds.

``OUT/CONDITION/seed_S`` is the work dir of a run. ``OUT/CONDITION.py`` is the
config of all runs of a condition, so a resumed study does not depend on later
changes of the original config files.
"""

import contextlib
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..cli.parser import command_name
from ..comparison.conditions import changed_settings, flatten
from ..comparison.study_file import STUDY_FILE, read_study_file
from ..datasets.files import check_writable, is_partial_file, remove_partial_files, write_atomically
from ..engine.checkpoint import check_resumable, load_checkpoint
from ..engine.preflight import check_model, check_training
from ..engine.resume import latest_checkpoint, locked
from ..errors import InputError

NEW, BROKEN, FINISHED = 'new', 'broken', 'finished'
BASELINE = 'baseline'  # the condition that others are compared with


class StudyRun(NamedTuple):
    """One training of a study."""

    condition: str
    seed: int
    work_dir: Path

    @property
    def marker(self) -> Path:
        """Empty file that marks a finished training."""
        return self.work_dir / 'finished'

    @property
    def log(self) -> Path:
        """Output of the training."""
        return self.work_dir / 'train.log'

    def state(self) -> str:
        """Return whether the run is ``new``, ``broken`` with a checkpoint to resume from, or ``finished``."""
        if self.marker.is_file():
            return FINISHED
        return BROKEN if self.last_checkpoint() else NEW

    def last_checkpoint(self) -> Path | None:
        """Return the latest intact checkpoint, None if there is none."""
        return latest_checkpoint(self.work_dir)[0]

    def __str__(self) -> str:
        return f'{self.condition}, seed {self.seed}'


def study_runs(out: Path, conditions: Sequence[str], seeds: Sequence[int]) -> list[StudyRun]:
    """Return the runs of a study, alternating conditions so that a change of the machine's speed affects all alike.

    Raises:
        InputError: If a seed occurs twice.
    """
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise InputError(f'seed {twice[0]} is given more than once')
    return [StudyRun(name, seed, out / name / f'seed_{seed}') for seed in seeds for name in conditions]


def check_study(out: Path, configs: Mapping[str, Config], may_grow: bool = False) -> None:
    """Check that a folder is new, empty, or holds a study with the same configs.

    Args:
        out: Folder of the study.
        configs: The config of each condition.
        may_grow: Whether the study may have other conditions, and missing ones may be added.

    Raises:
        InputError: If it is a file, or holds something else or a study with other configs.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f'{out} is a file: use a folder with --out')
    check_writable(out)
    if not out.is_dir():
        return
    if not (out / STUDY_FILE).is_file():
        if all(_is_of_new_study(path, configs) for path in out.iterdir()):
            return
        raise InputError(f'{out} is not empty and not a study, and is not changed: use another folder')
    conditions = read_study_file(out)['conditions']
    if conditions != list(configs) and not may_grow:
        raise InputError(f'{out} is a study of {" and ".join(conditions)}: use another folder')
    for name, cfg in configs.items():
        if name not in conditions:
            continue
        path = _config_file(out, name)
        try:
            there = flatten(Config.fromfile(path).to_dict())
        except (Exception, SystemExit) as error:  # a config is a program: it can fail in any way
            raise InputError(
                f'{out} is a study whose config {path} cannot be read ({type(error).__name__}: {error}): restore it, '
                'or use another folder'
            ) from None
        here = flatten(Config.fromstring(cfg.pretty_text, '.py').to_dict())
        differing = changed_settings(there, here)
        if differing:
            shown = ', '.join(f'{key} (was {old!r}, now {new!r})' for key, (old, new) in list(differing.items())[:3])
            more = f' and {len(differing) - 3} more' if len(differing) > 3 else ''
            raise InputError(
                f'{out} is a study with other settings: {name} differs in {shown}{more}. Use its original settings '
                f'({path}) or another folder'
            )


def _is_of_new_study(path: Path, configs: Mapping[str, Config]) -> bool:
    """Return whether :func:`write_study`, possibly interrupted before, would keep a file."""
    if path.name == '.lock' or is_partial_file(path):
        return True
    cfg = configs.get(path.stem) if path.suffix == '.py' else None
    return cfg is not None and path.is_file() and path.read_bytes() == cfg.pretty_text.encode()


def check_configs(out: Path, configs: Mapping[str, Config]) -> None:
    """Run the checks of every training of a study, those of shared data once.

    Raises:
        InputError: If a check fails; the message starts with the condition.
    """
    seen: list[list[Any]] = []
    for name, cfg in configs.items():
        checked = Config(cfg.to_dict(), filename=cfg.filename)
        checked.work_dir, checked.launcher = str(out / name), 'none'  # contains the work dirs, but no checkpoints
        data = [checked.get(key) for key in ('train_dataloader', 'val_dataloader', 'val_evaluator')]
        try:
            check_training(checked, with_data=data not in seen)
            seen.append(data)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None


def check_checkpoints(configs: Mapping[str, Config], runs: Iterable[StudyRun]) -> None:
    """Check the checkpoints that the runs of a study resume from.

    Raises:
        InputError: If a training cannot be resumed from one of them.
    """
    for run in runs:
        checkpoint = run.last_checkpoint()
        if checkpoint:
            cfg = configs[run.condition]
            check_resumable(load_checkpoint(str(checkpoint)), str(checkpoint), cfg, check_model(cfg))


def _config_file(out: Path, condition: str) -> Path:
    return out / f'{condition}.py'


def write_study(out: Path, configs: Mapping[str, Config], command: Sequence[str]) -> None:
    """Write the configs of a new or extended study, and ``study.json`` last, which marks them as complete.

    Existing conditions are kept; the command of an extension is appended.
    """
    there: dict[str, Any] = dict(conditions=[], command='')
    if (out / STUDY_FILE).is_file():
        there = read_study_file(out)
    new = [name for name in configs if name not in there['conditions']]
    if not new:
        return
    for name in new:
        write_atomically(_config_file(out, name), configs[name].pretty_text.encode())
    commands = [*there['command'].splitlines(), shlex.join(command)]
    content = dict(conditions=[*there['conditions'], *new], command='\n'.join(commands))
    write_atomically(out / STUDY_FILE, json.dumps(content, indent=1).encode())


@contextlib.contextmanager
def held(out: Path, configs: Mapping[str, Config], runs: Sequence[StudyRun], may_grow: bool = False) -> Iterator[None]:
    """Lock a study while its runs are trained; create or extend it, and report its state.

    The arguments are those of :func:`check_study`.

    Raises:
        InputError: If another process has locked it, or has created another study here since the check.
    """
    with locked(out):
        check_study(out, configs, may_grow)
        remove_partial_files(out.glob('.*'))
        write_study(out, configs, [*command_name(), *sys.argv[1:]])
        finished = sum(run.marker.is_file() for run in runs)  # state() would read the checkpoints again
        print(f'{len(runs)} runs, {finished} of them finished, in {out}', flush=True)
        yield


def training_command(train: Sequence[str], out: Path, run: StudyRun, newest: bool = False) -> list[str]:
    """Return the command that starts or resumes a run.

    Args:
        train: Command of a training, before its arguments.
        out: Folder of the study.
        run: The run.
        newest: Whether the training itself finds the latest checkpoint at each start.
    """
    checkpoint = None if newest else run.last_checkpoint()
    resume = '--resume' if newest else f'--resume={checkpoint}'
    return [
        *train,
        str(_config_file(out, run.condition)),
        f'--work-dir={run.work_dir}',
        *([resume] if newest or checkpoint else []),
        '--cfg-options',
        f'randomness.seed={run.seed}',
    ]


def failure_message(failed: Mapping[StudyRun, str]) -> str:
    """Return how runs failed, with the end of their output."""
    each = [f'{run} {how}; see its output in {run.log}:\n{_log_tail(run)}' for run, how in failed.items()]
    return f'{"".join(each)}The state of the others is kept: fix the problem and rerun the same command.'


def _log_tail(run: StudyRun, lines: int = 15) -> str:
    text = run.log.read_text(encoding='utf-8', errors='replace') if run.log.is_file() else ''
    return ''.join(f'| {line}\n' for line in text.splitlines()[-lines:])
