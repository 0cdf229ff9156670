"""Train a detector, with or without F-Noise."""

import _start

import argparse
import contextlib
from pathlib import Path

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.config import add_comparison_hooks
from fnoise_mmdet.engine.distributed import is_main_process
from fnoise_mmdet.engine.hooks import MissedValidationHook, OwnCheckpointsHook
from fnoise_mmdet.engine.preflight import check_training, check_work_dir, describe_training
from fnoise_mmdet.engine.resume import locked, remove_unfinished, resume_from, stopped
from fnoise_mmdet.engine.summary import training_summary


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Train a detector, with or without F-Noise.',
        examples=[
            'configs/fnoise.py --data-root data/coco_sample '
            '--cfg-options model.neck.noise.scale=0.1 train_cfg.max_epochs=2',
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --fnoise --pictures --data-root data/coco',
        ],
    )
    cli.add_config_arguments(parser)
    cli.add_runner_arguments(parser)
    cli.add_training_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint; without a value, from the latest one in the work dir',
    )
    parser.add_argument(
        '--pictures',
        action='store_true',
        help='add what the configs of this package have and others lack: feature maps (FeatureMapHook), validation '
        'losses, signal-to-noise ratio, a record of the run, and the hooks that make it safe to stop',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='run all checks and print a summary, without writing anything'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = cli.runner_config(args)
    cli.apply_training_options(cfg, args)
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
        runner = cli.build_runner(cfg)
        if cfg.resume:
            runner.register_hook(OwnCheckpointsHook())
            runner.register_hook(MissedValidationHook())
        try:
            runner.train()
        except (FloatingPointError, OSError, RuntimeError) as error:
            raise stopped(error, Path(cfg.work_dir)) from error
    if is_main_process():
        print(training_summary(runner, args.config))


if __name__ == '__main__':
    _start.run(main)
