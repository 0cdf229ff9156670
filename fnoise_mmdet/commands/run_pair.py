"""Train a detector without and with F-Noise over several seeds, and compare."""

import argparse
import sys

from mmengine.config import Config

from ..config import add_comparison_hooks, has_fnoise, load_config, merge_options
from ..errors import InputError
from ..studies.local import run_plan
from ..studies.run import run_study
from .runner import apply_training_options


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Load the config of each condition, with its options.

    Raises:
        InputError: If a config or an option cannot be used, or the configs do not differ in F-Noise.
    """
    if args.with_noise and args.fnoise:
        raise InputError(f'--fnoise {args.fnoise} creates the second config from the first: omit one of the two')
    noise = None if args.with_noise else args.fnoise or 'cct'
    second = args.with_noise or args.baseline
    configs = {
        'baseline': load_config(args.baseline, args.cfg_options),
        'fnoise': load_config(second, args.cfg_options, noise),
    }
    merge_options(configs['fnoise'], args.fnoise_options or {}, f'--fnoise-options do not fit {second}')
    for name, cfg in configs.items():
        try:
            apply_training_options(cfg, args)
            add_comparison_hooks(cfg, training_ap=args.training_ap)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None
    if configs['baseline'].to_dict() == configs['fnoise'].to_dict():
        raise InputError(f'{args.with_noise} is the same config as {args.baseline}: nothing to compare')
    if has_fnoise(configs['baseline']):
        raise InputError(f'{args.baseline} has F-Noise already: name the config without it first')
    if not has_fnoise(configs['fnoise']):
        raise InputError(f'{second} has no F-Noise: name the config with it second, or omit it and use --fnoise')
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
