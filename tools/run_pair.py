"""Train a detector without and with F-Noise over several seeds, and compare."""

import argparse
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from fnoise_mmdet import cli, study
from fnoise_mmdet.config import add_comparison_hooks, load_config
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.preflight import check_training
from fnoise_mmdet.resume import locked

TOOLS = Path(__file__).resolve().parent
POLL = 0.5  # seconds
TAIL = 15  # lines shown of the log of a training that failed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a detector without and with F-Noise over several seeds, and write the report that compares '
        'them to OUT/report. Each run has the work dir OUT/CONDITION/seed_S. May be stopped at will: the same command '
        'goes on, finished runs are kept, and more seeds can be added.',
        epilog='examples: '
        'python tools/run_pair.py configs/demo_baseline.py configs/demo_fnoise.py --out work_dirs/pair ; '
        'python tools/run_pair.py mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --data-root data/mine '
        '--seeds 0 1 2 3 4 --out work_dirs/mine --fnoise-options model.neck.noise.scale=0.1',
    )
    parser.add_argument('baseline', help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)')
    parser.add_argument(
        'with_noise',
        nargs='?',
        metavar='fnoise_config',
        help='config file with noise (default: the baseline with --fnoise put into it)',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the study')
    parser.add_argument(
        '--seeds', type=cli.at_least(0), nargs='+', default=[0, 1, 2], help='a pair of runs each (default: 0 1 2)'
    )
    cli.add_config_options(parser)
    parser.add_argument(
        '--fnoise-options', nargs='+', action=DictAction, help='as --cfg-options, for the config with noise alone'
    )
    cli.add_training_options(parser)
    parser.add_argument(
        '--workers',
        type=cli.at_least(1),
        default=1,
        help='trainings that run side by side, each with an equal share of the cores, or with OMP_NUM_THREADS threads '
        'where that is set; when one fails, the others are stopped, to go on with the same command '
        '(default: %(default)s)',
    )
    parser.add_argument('--dry-run', action='store_true', help='check everything, list the runs, and write nothing')
    parser.add_argument('--no-report', action='store_true', help='train only')
    return parser.parse_intermixed_args()  # so that the second config may stand anywhere


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Read the config of each condition, with its options."""
    if args.with_noise and args.fnoise:
        raise InputError(f'--fnoise {args.fnoise} makes the second config from the first: leave one of the two out')
    noise = None if args.with_noise else args.fnoise or 'cct'
    options: dict[str, Any] = args.cfg_options or {}
    configs = {
        'baseline': load_config(args.baseline, options),
        'fnoise': load_config(args.with_noise or args.baseline, options | (args.fnoise_options or {}), noise),
    }
    for name, cfg in configs.items():
        try:
            cli.apply_training_options(cfg, args)
            add_comparison_hooks(cfg)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None
    if configs['baseline'].to_dict() == configs['fnoise'].to_dict():
        raise InputError(f'{args.with_noise} is the same config as {args.baseline}: there is nothing to compare')
    return configs


def check_configs(configs: dict[str, Config]) -> None:
    """Check all that every training of a study needs."""
    for name, cfg in configs.items():
        checked = Config(cfg.to_dict(), filename=cfg.filename)
        checked.work_dir, checked.resume, checked.launcher = '', True, 'none'
        try:
            check_training(checked)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min {seconds:02} s' if minutes else f'{seconds} s'


@dataclass
class Training:
    """A training that was begun."""

    name: str
    run: study.StudyRun
    log: study.TrainingLog
    process: subprocess.Popen[bytes]
    bar: TaskID
    began: float
    seconds: float = 0.0


def time_left(trainings: list[Training], still: float) -> str:
    """Say how long so many runs' worth of training take, at the pace of the trainings."""
    done = sum(training.log.done - training.log.start for training in trainings)
    return f'{duration(sum(training.seconds for training in trainings) / done * still)} left' if done > 0 else ''


def train(runs: list[study.StudyRun], configs: dict[str, Config], args: argparse.Namespace, lock: Any) -> None:
    """Run what is not finished, as many side by side as there are workers."""
    todo = [run for run in runs if run.state() != study.FINISHED]
    begun: list[Training] = []
    running: list[Training] = []
    console = Console()
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn('{task.fields[left]}'),
    )

    def whole_left() -> str:
        unfinished = len(todo) - len(begun) + len(running)
        still = len(todo) - sum(training.log.done for training in begun)
        return time_left(begun, still / max(1, min(args.workers, unfinished)))

    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        study.trainings([sys.executable, str(TOOLS / 'train.py')], args.out, lock, args.workers) as begin,
    ):
        whole = progress.add_task('all', total=len(todo), left='')
        while len(begun) < len(todo) or running:
            for run in todo[len(begun) :][: args.workers - len(running)]:
                name = f'{len(begun) + 1}/{len(todo)}  {run}'
                goes_on = run.state() == study.BROKEN
                verb = f'goes on from {run.last_checkpoint().name}' if goes_on else 'begins'
                left = whole_left()
                print(f'{name}: {verb}{f"; {left}" if left else ""}', flush=True)
                log = study.TrainingLog(run.log, configs[run.condition].train_cfg.get('max_epochs'))
                bar = progress.add_task(str(run), total=1, left='')
                begun.append(Training(name, run, log, begin(run), bar, time.monotonic()))
                running.append(begun[-1])
            time.sleep(POLL)
            ended = [training for training in running if training.process.poll() is not None]
            ended.sort(key=lambda training: training.process.returncode != 0)  # a failure ends this loop
            for training in running:
                training.seconds = time.monotonic() - training.began
                done = training.log.read()
                progress.update(training.bar, completed=done, left=time_left([training], 1 - done))
            for training in ended:
                running.remove(training)
                if training.process.returncode:
                    report_failure(training, stopping=bool(running))
                training.run.marker.touch()
                training.log.done = 1.0
                progress.remove_task(training.bar)
                print(f'{training.name}: finished after {duration(training.seconds)}', flush=True)
            progress.update(whole, completed=sum(training.log.done for training in begun), left=whole_left())


def report_failure(training: Training, stopping: bool) -> None:
    status, log = training.process.returncode, training.run.log
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()[-TAIL:]
    how = f'was killed by signal {-status}' if status < 0 else f'failed with status {status}'
    if stopping:
        print(f'{training.name}: {how}; stopping the other trainings', flush=True)
    sys.exit(
        '\n'.join(f'| {line}' for line in lines) + f'\nerror: {training.run} {how}; all that it said is in {log}.\n'
        'What the others have done is kept: mend what is wrong and give the same command to go on.'
    )


def stop(number: int, _frame: Any) -> None:
    print('stopping: the same command goes on from here', file=sys.stderr)
    sys.exit(128 + number)


def main() -> None:
    args = parse_args()
    args.out = args.out.absolute()
    configs = read_configs(args)
    runs = study.study_runs(args.out, list(configs), args.seeds)
    study.check_study(args.out, configs)
    states = {run: run.state() for run in runs}
    unfinished = [run for run in runs if states[run] != study.FINISHED]
    if unfinished:
        check_configs(configs)
    if args.dry_run:
        for run in runs:
            will = {study.NEW: 'will begin', study.FINISHED: 'is finished and kept'}.get(states[run])
            print(f'{run}: {will or f"will go on from {run.last_checkpoint()}"}')
        return

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup makes it
            signal.signal(number, stop)
    with locked(args.out) as lock:
        study.check_study(args.out, configs)  # another one may have begun it since
        study.write_study(args.out, configs, ['python', *sys.argv])
        kept = len(runs) - len(unfinished)
        print(f'{len(runs)} runs, {kept} of them finished, in {args.out}', flush=True)
        train(runs, configs, args, lock)
        if args.no_report:
            return
        report = args.out / 'report'
        command = [sys.executable, str(TOOLS / 'compare.py'), str(args.out), '--out', str(report), '--force']
        status = subprocess.run(command).returncode
    if status:
        sys.exit(f'error: the trainings are finished, but the report failed with status {status}')
    print(f'the report is {report / "report.html"}')


if __name__ == '__main__':
    cli.run(main)
