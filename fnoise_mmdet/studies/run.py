"""Workflow of a study: checks, trainings, report."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from ..errors import RunError
from .early_stopping import Rungs
from .plan import Plan
from .processes import stopped_by_signals
from .study import (
    FINISHED,
    NEW,
    StudyRun,
    check_checkpoints,
    check_configs,
    check_study,
    failure_message,
    held,
    study_runs,
)

Executor = Callable[[Plan, Mapping[str, Config]], None]
"""Trains the unfinished runs of a plan, given the config of each condition, and reports their end to the plan."""


def run_study(
    out: Path,
    configs: Mapping[str, Config],
    seeds: Sequence[int],
    execute: Executor,
    report: bool,
    rungs: Rungs | None = None,
    may_grow: bool = False,
    dry_run: bool = False,
) -> None:
    """Check a study, train its unfinished runs, and write its report.

    Args:
        out: Folder of the study.
        configs: Config of each condition.
        seeds: Seeds of each condition.
        execute: Trains the runs: :func:`.local.run_plan` or :func:`.on_ray.run_plan` with their settings.
        report: Whether to compare the runs in ``OUT/report`` at the end.
        rungs: Settings of early stopping, None to disable it.
        may_grow: Whether the study may have other conditions, and missing ones may be added.
        dry_run: Whether to check everything, list the runs, and write nothing.

    Raises:
        InputError: If a check fails, or another process uses the folder.
        RunError: If a training or the report failed. What is finished is kept.
    """
    runs = study_runs(out, list(configs), seeds)
    check_study(out, configs, may_grow)
    states = {run: run.state() for run in runs}
    unfinished = [run for run in runs if states[run] != FINISHED]
    if unfinished:
        check_configs(out, configs)
        check_checkpoints(configs, unfinished)
    if dry_run:
        _print_states(states)
        return
    with stopped_by_signals(), held(out, configs, runs, may_grow):
        plan = Plan(out, runs, rungs)
        if unfinished:
            execute(plan, configs)
        for condition, epoch in plan.cut.items():
            print(f'{condition} was cut after epoch {epoch}, with all of its seeds')
        if report and plan.finished:
            _write_report(out)
    if plan.failed:
        raise RunError(failure_message(plan.failed))


def _print_states(states: Mapping[StudyRun, str]) -> None:
    for run, state in states.items():
        will = {NEW: 'will start', FINISHED: 'is finished'}.get(state)
        print(f'{run}: {will or f"will resume from {run.last_checkpoint()}"}')


def _write_report(out: Path) -> None:
    report = out / 'report'
    command = [sys.executable, '-m', 'fnoise_mmdet', 'compare', str(out), '--out', str(report), '--force']
    status = subprocess.run(command).returncode
    if status:
        raise RunError(f'all trainings are finished, but the report failed with status {status}')
    print(f'report: {report / "report.html"}', flush=True)
