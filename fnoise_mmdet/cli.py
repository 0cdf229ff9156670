"""What the command lines under ``tools/`` have in common."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import matplotlib
from mmengine.config import Config, DictAction
from mmengine.dist import is_distributed
from mmengine.fileio import register_backend
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from .config import NOISE_CONFIGS, check_has, load_config, train_from_scratch, use_complete_metric, use_data_root
from .config.types import type_name
from .datasets.files import FAILURES, file_error, write_atomically
from .datasets.images import printable
from .engine.checkpoint import TrustCheckpoint, refuse_code
from .engine.distributed import check_launcher, is_main_process, rank, use_cpus
from .engine.hooks import CorruptImageHook
from .engine.hooks.safe_checkpoint import AtomicBackend
from .engine.mixed_precision import use_amp
from .errors import ImageError, InputError, RunError

T = TypeVar('T')
# What tells a checkpoint from an image where both may be named.
CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.ckpt')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config, and what redirects and overrides it."""
    parser.add_argument(
        'config',
        help='config file, e.g. configs/fnoise.py, or one that mmdet ships, e.g. '
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    )
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add what puts noise into a config, redirects and overrides it."""
    parser.add_argument(
        '--fnoise',
        nargs='?',
        const='cct',
        choices=list(NOISE_CONFIGS),
        metavar='NOISE',
        help='put noise into a config that has none: before the neck, or where the noise was published for; default: '
        f'cct, which is F-Noise; others: {", ".join(name for name in NOISE_CONFIGS if name != "cct")}',
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add other data, and other settings."""
    parser.add_argument(
        '--data-root',
        help="folder in COCO layout that every data loader and evaluator reads instead of the config's: "
        'annotations/instances_{train,val,test}.json beside train/, val/, test/, or the layout of COCO 2017',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, as key=value pairs, e.g. model.neck.noise.scale=0.1 '
        'train_cfg.max_epochs=2 "train_dataloader.dataset.pipeline.2.scale=(640,400)"; '
        'quote a value with brackets, and leave out white space',
    )


def add_scales(parser: argparse.ArgumentParser) -> None:
    """Add the scales of a study's noises."""
    parser.add_argument(
        '--scale',
        type=float,
        nargs='+',
        default=[0.0, 0.1, 0.2, 0.3, 0.5],
        help='scales of the noises, a condition each; 0 is the baseline, which a sweep trains in any case '
        '(default: 0 0.1 0.2 0.3 0.5)',
    )


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the leave to load what may run code."""
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add how a config is trained."""
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='train from random weights: no checkpoint is fetched, no stage is frozen, batch norm is trained',
    )
    add_amp_argument(parser)


def add_amp_argument(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`.use_amp` is called for."""
    parser.add_argument(
        '--amp', action='store_true', help='train with automatic mixed precision, on a GPU or a processor with bfloat16'
    )


def apply_training_options(cfg: Config, args: argparse.Namespace) -> None:
    """Change a config, in place, as the options of a training ask for, ``--data-root`` among them.

    Raises:
        InputError: The model has no backbone, or the data are not there.
    """
    check_has(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if args.from_scratch:
        train_from_scratch(cfg)
    if args.amp:
        use_amp(cfg)
    use_data_root(cfg, args.data_root, required=('train', 'val'))


def add_runner_arguments(parser: argparse.ArgumentParser, work_dir: str = 'work_dirs/CONFIG_NAME') -> None:
    """Add what mmengine's runner needs besides a config."""
    parser.add_argument('--work-dir', help=f'folder for logs, checkpoints and pictures (default: {work_dir})')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run (default: none, a single process)',
    )
    add_trust_option(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def runner_config(args: argparse.Namespace) -> Config:
    """Read the config of a run, with its options, launcher and work dir.

    Raises:
        InputError: The config or an option is wrong, or the launcher has not
            started this process.
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
    """Build mmengine's runner, or the one that the config asks for; its processes find each other first.

    It names images that cannot be read, also where the config has no hook for that.
    """
    use_cpus(cfg)
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        if type_name(backend) == 'LocalVisBackend':  # which ignores that the disk is full
            backend['type'] = 'AtomicLocalVisBackend'
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if not any(isinstance(hook, CorruptImageHook) for hook in runner.hooks):
        runner.register_hook(CorruptImageHook())
    return runner


def run(main: Callable[[], None]) -> None:
    """Run a command line, and end it without a stack trace where what went wrong is known.

    An InputError ends it with its message and status 2, so does a file or
    folder that cannot be used; a RunError with its message and status 1, so
    does a disk that is full or faulty; Ctrl-C with status 130.
    """
    # Large tensors in huge pages: torch asks the system anew for those of every step, and pages of 4 KiB cost a
    # twentieth of it. torch reads this before the first such tensor is made.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    refuse_code()
    # What mmengine, mmcv and mmdet write is whole or not there: predictions, pictures, checkpoints.
    register_backend('local', AtomicBackend, force=True, prefixes='')
    matplotlib.rcParams['text.parse_math'] = False  # mmdet draws names of classes and files
    if not is_main_process():
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115  # until the end: of several processes one speaks
    try:
        main()
        print(end='', flush=True)
        if lost := getattr(sys.stdout, 'lost', None):  # see tools/_streams.py
            raise lost
    except InputError as error:
        # What a worker of a data loader raises comes with its stack trace, the message at the end.
        _fail(str(error).rpartition(f'{InputError.__module__}.{InputError.__name__}: ')[2], 2)
    except RunError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(file_error(error), 1 if error.errno in FAILURES else 2)
    except MemoryError as error:
        _fail(f'no memory is left: {error}'.rstrip(' :'), 1)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)


def _fail(message: str, status: int) -> None:
    place = '' if is_main_process() else f' of process {rank()}'
    print(f'error{place}: {message.strip()}', file=sys.stderr)
    if is_distributed():  # the end of gloo's group would wait for processes that are gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def at_least(low: int) -> Callable[[str], int]:
    """Make an argparse type: an integer that is not below ``low``."""

    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'must be >= {low}, but got {value}')
        return value

    parse.__name__ = 'int'
    return parse


def put_between(path: Path, mark: str, text: str) -> None:
    """Put a text between the two lines of a file that are the mark.

    Raises:
        InputError: The file is not there, or has not two of them.
    """
    try:
        before, _, after = path.read_text(encoding='utf-8').split(mark)
    except (OSError, ValueError):
        raise InputError(f'{path} is no file with two lines {mark!r}, between which the table would go') from None
    write_atomically(path, f'{before}{mark}\n{text}\n{mark}{after}'.encode())


def show_progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Show a progress bar while going through ``items``, which are ``total`` where they cannot be counted."""
    return track(items, escape(label), total)


def console() -> Console:
    """Return a terminal that shows texts as they are: brackets and colons in names are no markup."""
    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)


def _failure_of(draw: Callable[[Sequence[Path]], None], images: Sequence[Path]) -> Exception | None:
    """Draw images, and give what they break."""
    try:
        draw(images)
    except ImageError as error:
        return error
    except (OSError, InputError):  # a full disk or a wrong setting, no image's fault
        raise
    except Exception as error:
        return error
    return None


def draw_in_batches(draw: Callable[[Sequence[Path]], None], images: Sequence[Path], batch_size: int = 1) -> int:
    """Draw images in batches; one that cannot be drawn is named, and the others go on.

    Returns:
        The number of images drawn.

    Raises:
        InputError: None of them could be drawn.
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
            f'none of the images could be drawn, the last one because of {type(failure).__name__}: {failure}'
        ) from failure
    return drawn
