"""Train a detector without noise, with noises at several scales and with other settings over several seeds on Ray."""

import argparse
from typing import Any

from mmengine.config import Config

from ..config import add_comparison_hooks, load_config
from ..errors import InputError
from ..studies.early_stopping import Rungs
from ..studies.run import run_study
from ..studies.study import BASELINE
from ..studies.sweep import sweep_conditions, sweep_configs
from .runner import apply_training_options


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Load the config of each condition, with its options."""
    baseline = load_config(args.config, args.cfg_options)  # first: it may import custom noises
    conditions = sweep_conditions(args.preset, args.scale)
    apply_training_options(baseline, args)
    return sweep_configs(add_comparison_hooks(baseline), conditions, args.condition)


def import_ray() -> Any:
    """Import the module that needs Ray, an optional dependency.

    Raises:
        InputError: If Ray is not installed.
    """
    try:
        from ..studies import on_ray
    except ImportError as error:
        raise InputError(f"a sweep needs Ray Tune, pip install 'ray[tune]>=2.60,<3': {error}") from None
    return on_ray


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    configs = read_configs(args)
    rungs = None
    if args.asha:
        rungs = Rungs.of(configs[BASELINE], args.asha_metric, args.asha_grace, args.asha_factor)
    on_ray = import_ray()
    train = ['-m', 'fnoise_mmdet', 'train']
    run_study(
        args.out.absolute(),
        configs,
        args.seeds,
        lambda plan, cfgs: on_ray.run_plan(plan, cfgs, train, args.address, args.cpus, args.gpus, args.retries),
        report=not args.no_report,
        rungs=rungs,
        may_grow=True,
        dry_run=args.dry_run,
    )
