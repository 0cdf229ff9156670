"""Train a detector without and with F-Noise over several seeds, and compare."""

import argparse
import sys
from typing import Any

from mmengine.config import Config

from ..config import add_comparison_hooks, load_config
from ..errors import InputError
from ..studies.local import run_plan
from ..studies.run import run_study
from .runner import apply_training_options


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Load the config of each condition, with its options."""
    if args.with_noise and args.fnoise:
        raise InputError(f'--fnoise {args.fnoise} creates the second config from the first: omit one of the two')
    noise = None if args.with_noise else args.fnoise or 'cct'
    options: dict[str, Any] = args.cfg_options or {}
    configs = {
        'baseline': load_config(args.baseline, options),
        'fnoise': load_config(args.with_noise or args.baseline, options | (args.fnoise_options or {}), noise),
    }
    for name, cfg in configs.items():
        try:
            apply_training_options(cfg, args)
            add_comparison_hooks(cfg, training_ap=args.training_ap)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None
    if configs['baseline'].to_dict() == configs['fnoise'].to_dict():
        raise InputError(f'{args.with_noise} is the same config as {args.baseline}: nothing to compare')
    return configs


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    train = [sys.executable, '-m', 'fnoise_mmdet', 'train']
    run_study(
        args.out.absolute(),
        read_configs(args),
        args.seeds,
        lambda plan, configs: run_plan(plan, configs, train, args.workers),
        report=not args.no_report,
        dry_run=args.dry_run,
    )
