"""Train a detector, with or without F-Noise."""

import argparse
import contextlib
from pathlib import Path

from ..config import add_comparison_hooks
from ..engine.distributed import is_main_process
from ..engine.hooks import MissedValidationHook, OwnCheckpointsHook
from ..engine.preflight import check_training, check_work_dir, describe_training
from ..engine.resume import locked, remove_unfinished, resume_from, stopped
from ..engine.summary import training_summary
from .runner import apply_training_options, build_runner, runner_config


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    cfg = runner_config(args)
    apply_training_options(cfg, args)
    if args.pictures:
        add_comparison_hooks(cfg, feature_maps=True)
    if args.resume:
        resume_from(cfg, None if args.resume == 'auto' else args.resume)
    elif cfg.get('resume'):  # set in the config, with the same meaning
        resume_from(cfg, cfg.get('load_from'))
    check_training(cfg)
    if args.dry_run:
        print(describe_training(cfg))
        return
    with locked(Path(cfg.work_dir)) if is_main_process() else contextlib.nullcontext():
        if is_main_process():
            check_work_dir(cfg)  # another run may have started in it since
            remove_unfinished(Path(cfg.work_dir))
        runner = build_runner(cfg)
        if cfg.resume:
            runner.register_hook(OwnCheckpointsHook())
            runner.register_hook(MissedValidationHook())
        try:
            runner.train()
        except (FloatingPointError, OSError, RuntimeError) as error:
            raise stopped(error, Path(cfg.work_dir)) from error
    if is_main_process():
        print(training_summary(runner, args.config))
