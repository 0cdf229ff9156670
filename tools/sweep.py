"""Train a detector without noise and with noises at several scales over several seeds on Ray, and compare."""

import _start

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fnoise_mmdet import cli
from fnoise_mmdet.config import NOISE_CONFIGS, add_comparison_hooks, load_config
from fnoise_mmdet.errors import InputError, RunError
from fnoise_mmdet.studies import study
from fnoise_mmdet.studies.progress import StudyProgress
from fnoise_mmdet.studies.sweep import BASELINE, Rungs, SweepPlan, sweep_conditions, sweep_configs

TOOLS = Path(__file__).resolve().parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a detector without noise and with noises at several scales over several seeds, each run a '
        'trial of Ray Tune with the work dir OUT/CONDITION/seed_S, and write the report that compares them to '
        'OUT/report. May be stopped at will: the same command goes on, finished runs are kept, and seeds, noises and '
        "scales can be added. Needs Ray: pip install 'ray[tune]'.",
        epilog='examples: '
        'python tools/sweep.py configs/demo_baseline.py --out work_dirs/sweep ; '
        'python tools/sweep.py mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --data-root data/mine '
        '--out work_dirs/mine --preset cct mean_normal=0.1 FDrop --scale 0 0.1 0.2 0.3 0.5 --seeds 0 1 2 3 4 --cpus 4',
    )
    parser.add_argument('config', help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)')
    parser.add_argument('--out', type=Path, required=True, help='folder of the sweep')
    parser.add_argument(
        '--preset',
        nargs='+',
        default=['cct'],
        metavar='NOISE[=SCALE]',
        help='noises, each crossed with the scales, or with the scale behind it alone; those that have no scale stand '
        f'alone (default: cct; there are {", ".join(NOISE_CONFIGS)})',
    )
    cli.add_scales(parser)
    parser.add_argument(
        '--seeds', type=cli.at_least(0), nargs='+', default=[0, 1, 2], help='a run of each condition (default: 0 1 2)'
    )
    cli.add_overrides(parser)
    cli.add_training_options(parser)
    ray = parser.add_argument_group('Ray')
    ray.add_argument(
        '--address',
        help='address of a running Ray cluster, e.g. auto or 10.0.0.1:6379; all of its machines must see OUT, the '
        'data, this folder and this Python under the same paths; set RAY_AUTH_MODE=token where it asks for a token '
        '(default: this machine alone, for this sweep alone)',
    )
    ray.add_argument(
        '--cpus',
        type=cli.at_least(1),
        default=1,
        help='CPUs of a trial, which computes with as many threads; what has more trials than fit waits (default: 1)',
    )
    ray.add_argument(
        '--gpus', type=float, help='GPUs of a trial, 0.5 to have two share one (default: 1 where there are any, else 0)'
    )
    ray.add_argument(
        '--retries',
        type=cli.at_least(0),
        default=2,
        help='how often a run whose training or worker dies is begun again from its last checkpoint (default: 2)',
    )
    asha = parser.add_argument_group('early stopping')
    asha.add_argument(
        '--asha',
        action='store_true',
        help='cut what does badly, as ASHA does, but whole conditions: one waits after the epochs GRACE, GRACE x '
        'FACTOR, ... for all of its seeds, and goes on when the mean of their metric is among the best 1/FACTOR; the '
        'baseline is never cut, and what is cut is named in the report and not compared',
    )
    asha.add_argument(
        '--asha-metric',
        default='coco/bbox_mAP',
        help='what decides, of the log; lower is better where it holds the word loss, e.g. val_loss '
        '(default: %(default)s)',
    )
    asha.add_argument('--asha-grace', type=cli.at_least(1), default=1, help='epochs before the first cut (default: 1)')
    asha.add_argument('--asha-factor', type=cli.at_least(2), default=3, help='one of how many goes on (default: 3)')
    parser.add_argument('--dry-run', action='store_true', help='check everything, list the runs, and write nothing')
    parser.add_argument('--no-report', action='store_true', help='train only')
    args = parser.parse_args()
    if args.gpus is not None and args.gpus < 0:
        parser.error('argument --gpus: must not be below 0')
    return args


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Read the config of each condition, with its options."""
    conditions = sweep_conditions(args.preset, args.scale)
    baseline = load_config(args.config, args.cfg_options)
    cli.apply_training_options(baseline, args)
    return sweep_configs(add_comparison_hooks(baseline), conditions)


def import_ray() -> Any:
    """Import what runs on Ray, which is no requirement of anything else.

    Raises:
        InputError: It is not installed.
    """
    try:
        from fnoise_mmdet.studies import on_ray
    except ImportError as error:
        raise InputError(f"a sweep runs on Ray Tune, pip install 'ray[tune]>=2.60,<3': {error}") from None
    return on_ray


def run_on_ray(
    runs: list[study.StudyRun], configs: dict[str, Config], rungs: Rungs | None, args: argparse.Namespace
) -> SweepPlan:
    """Run what is not finished, as many side by side as fit."""
    on_ray = import_ray()
    plan = SweepPlan(args.out, runs, rungs)
    todo = [run for run in runs if run not in plan.finished]
    script = [str(TOOLS / 'train.py')]
    with on_ray.connected(args.address, args.cpus, args.gpus) as (gpus, places), study.stopped_by_signals():
        print(f'Ray has places for {places} trials, each with {args.cpus} CPUs and {gpus:g} GPUs', flush=True)
        with StudyProgress(todo, configs, places) as progress:
            on_ray.run_plan(
                plan,
                lambda run: study.training_command(script, args.out, run, newest=True),
                progress,
                args.out,
                args.cpus,
                gpus,
                args.retries,
            )
    return plan


def main() -> None:
    args = parse_args()
    args.out = args.out.absolute()
    configs = read_configs(args)
    runs = study.study_runs(args.out, list(configs), args.seeds)
    study.check_study(args.out, configs, may_grow=True)
    rungs = None
    if args.asha:
        rungs = Rungs.of(configs[BASELINE], args.asha_metric, args.asha_grace, args.asha_factor)
    states = {run: run.state() for run in runs}
    unfinished = [run for run in runs if states[run] != study.FINISHED]
    if unfinished:
        study.check_configs(args.out, configs)
        study.check_checkpoints(configs, unfinished)
        import_ray()
    if args.dry_run:
        study.print_states(states)
        return
    with study.held(args.out, configs, runs, may_grow=True):
        failed = []
        if unfinished:
            plan = run_on_ray(runs, configs, rungs, args)
            for condition, epoch in plan.cut.items():
                print(f'{condition} was cut after epoch {epoch}, with all of its seeds')
            failed = plan.failed
        if not args.no_report and any(run.state() == study.FINISHED for run in runs):
            study.run_compare(TOOLS, args.out)
    if failed:
        told = [f'{run} failed; all that it said is in {run.log}, the end is\n{study.log_tail(run)}' for run in failed]
        raise RunError(
            f'{"".join(told)}What the others have done is kept: mend what is wrong and give the same command to go on.'
        )


if __name__ == '__main__':
    _start.run(main)
