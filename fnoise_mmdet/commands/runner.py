"""Configure and build mmengine's runner for the commands."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..config import (
    check_has,
    load_config,
    make_semi,
    noise_label,
    train_from_scratch,
    use_complete_metric,
    use_data_root,
)
from ..config.types import type_name
from ..engine.distributed import check_launcher, use_cpus, world_size
from ..engine.hooks import CorruptImageHook, ProgressHook
from ..engine.mixed_precision import use_amp
from ..errors import InputError


def apply_training_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the training options and ``--data-root`` to a config, in place.

    Raises:
        InputError: If the model has no backbone, the data are not found, or ``--semi`` does not fit.
    """
    check_has(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if args.from_scratch:
        train_from_scratch(cfg)
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise InputError(
                f'{cfg.filename or "the config"} has no auto_scale_lr.base_batch_size, which --auto-scale-lr needs: '
                'add, for example, auto_scale_lr=dict(base_batch_size=16)'
            )
        cfg.auto_scale_lr.enable = True
    use_data_root(cfg, args.data_root, required=('train', 'val'))
    if args.semi:
        unlabelled, settings = args.semi
        nested = Config()
        nested.merge_from_dict(settings)  # dotted keys are nested settings
        make_semi(cfg, unlabelled, processes=world_size(cfg.get('launcher', 'none')), **nested.to_dict())


def runner_config(args: argparse.Namespace) -> Config:
    """Load the config of a run and apply options, launcher and work dir.

    Raises:
        InputError: If the config or an option is invalid, or this process was
            not started by the launcher.
    """
    check_launcher(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options, args.fnoise)
    use_complete_metric(cfg)
    cfg.launcher = args.launcher
    name = '_'.join(filter(None, [Path(args.config.rpartition('::')[2]).stem, noise_label(args.fnoise or '')]))
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / name)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Initialize the process group if needed, and build the runner of a config.

    CorruptImageHook and ProgressHook are registered if the config does not have them.
    """
    use_cpus(cfg)
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        if type_name(backend) == 'LocalVisBackend':  # which ignores a full disk
            backend['type'] = 'AtomicLocalVisBackend'
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    # mmengine warns of every parameter that is not trained, such as all of a teacher.
    runner.logger.addFilter(lambda record: 'is skipped since its requires_grad=False' not in record.getMessage())
    for hook in (CorruptImageHook, ProgressHook):
        if not any(isinstance(one, hook) for one in runner.hooks):
            runner.register_hook(hook())
    return runner
