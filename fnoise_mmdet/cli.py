"""Shared arguments, error handling and progress display of the command lines in ``tools/``."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
from mmengine.config import Config, DictAction
from mmengine.dist import is_distributed
from mmengine.fileio import register_backend
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from .config import (
    NOISE_CONFIGS,
    check_has,
    load_config,
    make_semi,
    train_from_scratch,
    use_complete_metric,
    use_data_root,
)
from .config.types import type_name
from .datasets.files import FAILURES, file_error, write_atomically
from .datasets.images import printable
from .engine.checkpoint import TrustCheckpoint, refuse_code
from .engine.distributed import check_launcher, is_main_process, rank, use_cpus, world_size
from .engine.hooks import CorruptImageHook
from .engine.hooks.safe_checkpoint import AtomicBackend
from .engine.mixed_precision import use_amp
from .errors import ImageError, InputError, RunError

T = TypeVar('T')
# Distinguish checkpoints from images in a mixed list of paths.
CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.ckpt')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the options that change it."""
    parser.add_argument(
        'config',
        help='config file, e.g. configs/fnoise.py, or one shipped with mmdet, e.g. '
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    )
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--fnoise`` and the overrides."""
    parser.add_argument(
        '--fnoise',
        nargs='?',
        const='cct',
        metavar='NOISE',
        help='insert noise into a config that has none, before the neck or at the published place of the noise; '
        f'default: cct (F-Noise); others: {", ".join(name for name in NOISE_CONFIGS if name != "cct")}; or your own, '
        'a registered subclass of Noise',
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root`` and ``--cfg-options``."""
    parser.add_argument(
        '--data-root',
        help='folder in COCO layout that replaces the data root of every data loader and evaluator: '
        'annotations/instances_{train,val,test}.json with train/, val/, test/, or the layout of COCO 2017',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, as key=value pairs, e.g. model.neck.noise.scale=0.1 '
        'train_cfg.max_epochs=2 "train_dataloader.dataset.pipeline.2.scale=(640,400)"; '
        'quote values with brackets and omit white space in them',
    )


def add_scales(parser: argparse.ArgumentParser) -> None:
    """Add the noise scales of a study."""
    parser.add_argument(
        '--scale',
        type=float,
        nargs='+',
        default=[0.0, 0.1, 0.2, 0.3, 0.5],
        help='noise scales, one condition each; 0 is the baseline, which a sweep always trains '
        '(default: 0 0.1 0.2 0.3 0.5)',
    )


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)


class NamedOptionsAction(DictAction):
    """Parse a word, such as a file or a name, and the ``key=value`` pairs that belong to it."""

    def parse(self, parser: argparse.ArgumentParser, values: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Return the word, and the settings with dotted keys."""
        word, *pairs = values
        if wrong := [one for one in pairs if '=' not in one]:
            name = self.option_strings[0]
            parser.error(f'argument {name}: settings after {word} must be KEY=VALUE, but got {wrong[0]!r}')
        parsed = argparse.Namespace()
        super().__call__(parser, parsed, pairs)
        return word, getattr(parsed, self.dest)


class SemiAction(NamedOptionsAction):
    """Parse a file and ``key=value`` pairs into the arguments of :func:`.make_semi`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        unlabelled, settings = self.parse(parser, values)
        if 'processes' in settings:
            parser.error('argument --semi: the number of processes is that of --launcher')
        arguments = Config(dict(unlabelled=unlabelled))
        arguments.merge_from_dict(settings)  # dotted keys are nested settings
        setattr(namespace, self.dest, arguments.to_dict())


class ConditionAction(NamedOptionsAction):
    """Append the name of a condition and its ``key=value`` pairs."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), self.parse(parser, values)])


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--from-scratch``, ``--semi`` and ``--amp``."""
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='train from random weights: no checkpoint is downloaded, no stage is frozen, batch norm is trained',
    )
    parser.add_argument(
        '--semi',
        nargs='+',
        action=SemiAction,
        metavar=('UNLABELLED.json', 'KEY=VALUE'),
        help='train also on the images of this file in COCO format, without their annotations: a teacher, the '
        'average of the detector over the training, labels them, and the detector learns these labels from noisy '
        'features (FNoiseTeacher; without noise in the config or --fnoise it is a plain mean teacher). The images are '
        'looked for in the folder of the training images. Settings of the teacher may follow, e.g. targets=soft '
        'views=2 antithetic=True cls_pseudo_thr=0.9 strong_view=True',
    )
    add_amp_argument(parser)
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size x GPUs / auto_scale_lr.base_batch_size of the config',
    )


def add_amp_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp``, see :func:`.use_amp`."""
    parser.add_argument(
        '--amp', action='store_true', help='train with automatic mixed precision, on a GPU or a CPU with bfloat16'
    )


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
                f'{cfg.filename or "the config"} does not say which batch size its learning rate is for, which '
                '--auto-scale-lr needs: add auto_scale_lr=dict(base_batch_size=16), if it is 16'
            )
        cfg.auto_scale_lr.enable = True
    use_data_root(cfg, args.data_root, required=('train', 'val'))
    if args.semi:
        make_semi(cfg, **args.semi | dict(processes=world_size(cfg.get('launcher', 'none'))))


def add_runner_arguments(parser: argparse.ArgumentParser, work_dir: str = 'work_dirs/CONFIG_NAME') -> None:
    """Add the arguments of mmengine's runner."""
    parser.add_argument('--work-dir', help=f'folder for logs, checkpoints and images (default: {work_dir})')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the distributed run (default: none, a single process)',
    )
    add_trust_option(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


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
    name = '_'.join(filter(None, [Path(args.config).stem, args.fnoise]))
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / name)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Initialize the process group if needed, and build the runner of a config.

    A CorruptImageHook is registered if the config has none.
    """
    use_cpus(cfg)
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        if type_name(backend) == 'LocalVisBackend':  # which ignores a full disk
            backend['type'] = 'AtomicLocalVisBackend'
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if not any(isinstance(hook, CorruptImageHook) for hook in runner.hooks):
        runner.register_hook(CorruptImageHook())
    return runner


def run(main: Callable[[], None]) -> None:
    """Run a command line and report known errors without a stack trace.

    InputError and unusable files or folders exit with status 2, RunError and
    full or faulty disks with status 1, Ctrl-C with status 130.
    """
    # Huge pages save about 5 % of a step, because torch reallocates large tensors in every step. torch reads this
    # variable before its first large allocation.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    refuse_code()
    # Atomic writes for everything that mmengine, mmcv and mmdet save.
    register_backend('local', AtomicBackend, force=True, prefixes='')
    matplotlib.rcParams['text.parse_math'] = False  # mmdet draws class and file names
    if not is_main_process():
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115  # for the whole process: only rank 0 prints
    try:
        main()
        print(end='', flush=True)
        if lost := getattr(sys.stdout, 'lost', None):  # see tools/_streams.py
            raise lost
    except InputError as error:
        # An error of a data loader worker carries its stack trace, with the message at the end.
        _fail(str(error).rpartition(f'{InputError.__module__}.{InputError.__name__}: ')[2], 2)
    except RunError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(file_error(error), 1 if error.errno in FAILURES else 2)
    except MemoryError as error:
        _fail(f'out of memory: {error}'.rstrip(' :'), 1)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)


def _fail(message: str, status: int) -> None:
    place = '' if is_main_process() else f' of process {rank()}'
    print(f'error{place}: {message.strip()}', file=sys.stderr)
    if is_distributed():  # shutting down gloo would wait for dead processes
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def at_least(low: int) -> Callable[[str], int]:
    """Return an argparse type for integers >= ``low``."""

    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'must be >= {low}, but got {value}')
        return value

    parse.__name__ = 'int'
    return parse


def put_between(path: Path, mark: str, text: str) -> None:
    """Replace the text between the two marker lines of a file.

    Raises:
        InputError: If the file is not found or does not have two markers.
    """
    try:
        before, _, after = path.read_text(encoding='utf-8').split(mark)
    except (OSError, ValueError):
        raise InputError(f'{path} is not a file with two lines {mark!r} around the table') from None
    write_atomically(path, f'{before}{mark}\n{text}\n{mark}{after}'.encode())


def show_progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar; give ``total`` if they have no length."""
    return track(items, escape(label), total)


def console() -> Console:
    """Return a console without markup, as names may contain brackets and colons."""
    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)


def _failure_of(draw: Callable[[Sequence[Path]], None], images: Sequence[Path]) -> Exception | None:
    """Draw images and return the exception that they cause, if any."""
    try:
        draw(images)
    except ImageError as error:
        return error
    except (OSError, InputError):  # a full disk or an invalid setting
        raise
    except Exception as error:
        return error
    return None


def draw_in_batches(draw: Callable[[Sequence[Path]], None], images: Sequence[Path], batch_size: int = 1) -> int:
    """Draw images in batches, and report and skip those that cannot be drawn.

    Returns:
        The number of images drawn.

    Raises:
        InputError: If none could be drawn.
    """
    drawn, failure = 0, None
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    for batch in show_progress(batches, 'images'):
        if not _failure_of(draw, batch):
            drawn += len(batch)
            continue
        for path in batch:
            failure = _failure_of(draw, [path])
            if failure:
                print(f'skipped {printable(str(path))}: {str(failure).strip() or type(failure).__name__}')
            else:
                drawn += 1
    if not drawn:
        raise InputError(
            f'none of the images could be drawn, the last one failed with {type(failure).__name__}: {failure}'
        ) from failure
    return drawn
