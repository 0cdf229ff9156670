"""Options that several commands share."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..choices import NOISES
from ..errors import InputError, did_you_mean

# Distinguish checkpoints from images in a mixed list of paths.
CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.ckpt')


class Pairs(list[str]):
    """``key=value`` pairs as they were typed; their values are read once mmengine is imported."""


def check_pairs(parser: argparse.ArgumentParser, option: str | None, pairs: Sequence[str], after: str = '') -> None:
    """End with a usage error unless all arguments of an option, those after a word if it takes one, are pairs."""
    if wrong := [one for one in pairs if '=' not in one]:
        place = f' after {after}' if after else ''
        parser.error(f'argument {option}: settings{place} must be KEY=VALUE, but got {wrong[0]!r}')


class PairsAction(argparse.Action):
    """Collect ``key=value`` pairs."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        check_pairs(parser, option_string, values)
        setattr(namespace, self.dest, Pairs([*(getattr(namespace, self.dest) or ()), *values]))


def check_config_path(path: str) -> None:
    """Check that a config is a file, or one shipped with a package (``mmdet::FAMILY/NAME.py``).

    Raises:
        InputError: If it is not; the message suggests the closest one of its folder.
    """
    if Path(path).is_dir():
        raise InputError(f'config {path} is a folder: name a file in it')
    if '::' not in path and not Path(path).is_file():
        near = did_you_mean(path, map(str, Path(path).parent.glob('*.py')))
        raise InputError(f'config {path} is not a file{near}')


def config_path(text: str) -> str:
    """Check a config, as an argparse type."""
    try:
        check_config_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def noise_name(text: str) -> str:
    """Check that the value of ``--fnoise`` is not the next positional argument, as an argparse type."""
    if text.endswith('.py') or '::' in text or '/' in text or Path(text).is_file():
        raise argparse.ArgumentTypeError(
            f'{text} is a path, not a noise: put it before --fnoise, or name the noise, as in --fnoise cct {text}'
        )
    return text


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the options that change it."""
    parser.add_argument(
        'config',
        type=config_path,
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
        type=noise_name,
        metavar='NOISE[@PLACE[:LEVELS]]',
        help='insert noise into a config that has none, at its published place or another one: '
        'pre or post (before or after the neck), stage (of the backbone), roi, query or the name of a module, such as '
        'DSU@stage:0,1; '
        f'default: cct (F-Noise); others: {", ".join(name for name in NOISES if name != "cct")}; or your own, '
        'a registered subclass of Noise',
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root`` and ``--cfg-options``."""
    parser.add_argument(
        '--data-root',
        help='folder in COCO layout that replaces the data root of every data loader and evaluator: '
        'annotations/instances_{train,val,test}.json with train/, val/, test/, or the layout of COCO 2017; '
        'annotation files of other names are kept if the folder has them',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=PairsAction,
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
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that hold more than weights and plain data, which can execute arbitrary code: only '
        'for files that you created yourself or whose source you trust',
    )


class NamedPairsAction(argparse.Action):
    """Parse a word, such as a file or a name, and the ``key=value`` pairs that belong to it."""

    def parse(self, parser: argparse.ArgumentParser, values: Sequence[str]) -> tuple[str, Pairs]:
        """Return the word and the pairs."""
        word, *pairs = values
        check_pairs(parser, self.option_strings[0], pairs, after=word)
        return word, Pairs(pairs)


class SemiAction(NamedPairsAction):
    """Parse a file and settings of :func:`.make_semi`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        unlabelled, settings = self.parse(parser, values)
        for one in settings:
            name = one.partition('=')[0]
            if name.partition('.')[0] in ('cfg', 'processes', 'unlabelled'):  # of make_semi, but no settings
                parser.error(
                    f'argument --semi: {name} is no setting: name one file, and the number of processes is that of '
                    '--launcher'
                )
        setattr(namespace, self.dest, (unlabelled, settings))


class ConditionAction(NamedPairsAction):
    """Append the name of a condition and its settings."""

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


def at_least(low: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argparse type for integers >= ``low`` and, if it is given, <= ``most``."""

    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'must be >= {low}, but got {value}')
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f'must be <= {most}, but got {value}')
        return value

    parse.__name__ = 'int'
    return parse


seed = at_least(0, 2**32 - 1)  # NumPy takes no others


def between(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return an argparse type for finite numbers from ``low`` to ``high``."""

    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            limit = f' and <= {high:g}' if math.isfinite(high) else ' and finite'
            raise argparse.ArgumentTypeError(f'must be >= {low:g}{limit}, but got {text}')
        return value

    parse.__name__ = 'float'
    return parse
