"""Kill trainings at random moments, resume them, and compare them to an uninterrupted one."""

import _start

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from fnoise_mmdet.cli import options
from fnoise_mmdet.cli.parser import ArgumentParser
from fnoise_mmdet.engine.resume import is_corrupt, latest_checkpoint
from fnoise_mmdet.errors import InputError

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'
# What differs between two runs of the same training: times, and the names of their folders.
UNEQUAL = ('time', 'data_time', 'memory', 'cfg', 'experiment_name', 'last_ckpt')
KILLED = ('main', 'group', 'both')
MOMENTS = ('iteration', 'saving', 'validation', 'drawing')


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Train once without interruption, then repeatedly, each time killed (SIGKILL) at a random moment '
        'of an iteration, of saving a checkpoint, of a validation, or of drawing images, and resumed. Weights, '
        'optimizer, schedulers and log must be bitwise equal to those of the first training. Trainings use one thread, '
        'as sums on a CPU are bitwise reproducible only then. Of several processes a random one is killed, and '
        'torchrun stops the others.',
        examples=[
            'configs/demo_fnoise.py --kills 20 --out work_dirs/resume --train-options --data-root data/shapes '
            '--cfg-options train_cfg.max_epochs=2',
        ],
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', type=Path, required=True, help='folder to create for the work dirs')
    parser.add_argument('--kills', type=options.at_least(1), default=20, help='number of trainings to kill')
    parser.add_argument(
        '--kill',
        choices=KILLED,
        default='both',
        help='what is killed: only the main process (as when memory runs out), its process group, or both alternately ',
    )
    parser.add_argument(
        '--processes',
        type=options.at_least(1),
        default=1,
        help='processes of each training (default: 1, without a launcher)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the random moments')
    parser.add_argument('--train-options', nargs=argparse.REMAINDER, default=[], help='options of train.py')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out.exists():
        raise InputError(f'{args.out} already exists and is not changed: use another folder')
    args.out.mkdir(parents=True)
    rng = random.Random(args.seed)
    whole = args.out / 'whole'
    start = time.monotonic()
    if start_training(args, whole).wait():
        raise InputError(f'the training fails without being killed: see {whole}.log')
    duration = time.monotonic() - start
    lines = len(_rows(whole))
    print(f'the uninterrupted training took {duration:.0f} s')

    survived: Counter[str] = Counter()
    for number in range(args.kills):
        moment = MOMENTS[number % len(MOMENTS)]
        work_dir = args.out / f'killed_{number}'
        process = start_training(args, work_dir)
        # At a line of the log, because the duration of a training depends on the load of the machine.
        killed = wait_for(moment, work_dir, process, rng.randrange(lines), rng.uniform(0, duration / lines), rng)
        alone = args.kill == 'main' or (args.kill == 'both' and number // len(MOMENTS) % 2 == 0)
        if killed:
            kill(process, rng if args.processes > 1 else None, alone)
        process.wait()
        path, corrupt = latest_checkpoint(work_dir)
        resumed = start_training(args, work_dir, '--resume').wait() if killed else 0
        differing = corrupt or (['it cannot be resumed'] if resumed else list(checkpoint_differences(whole, work_dir)))
        of = '1 process' if args.processes > 1 else 'main process' if alone else 'group'
        since = path.name if path else 'the beginning'
        came = f'{of} killed in {moment}, resumed from {since}' if killed else 'not killed'
        print(f'{number + 1:3d}/{args.kills} {came}: {"the same" if not differing else f"DIFFERS: {differing[0]}"}')
        survived[moment] += not differing and killed
        if not differing:
            shutil.rmtree(work_dir)
    print(f'survived {survived.total()} of {args.kills} kills: {", ".join(f"{survived[m]} in {m}" for m in MOMENTS)}')
    if survived.total() < args.kills:
        sys.exit(1)


def start_training(args: argparse.Namespace, work_dir: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a training in its own session."""
    command = [sys.executable, str(TRAIN), args.config, f'--work-dir={work_dir}', *options, *args.train_options]
    if args.processes > 1:
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={args.processes}']
        command[1:3] = [*launcher, str(TRAIN), args.config, '--launcher=pytorch']
    with Path(f'{work_dir}.log').open('ab') as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {'OMP_NUM_THREADS': '1'}, start_new_session=True
        )


def kill(process: subprocess.Popen[bytes], rng: random.Random | None, alone: bool) -> None:
    """Kill a training alone, with its process group, or a random process of a launcher."""
    if rng is None:
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        return
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    os.kill(int(rng.choice(children)), signal.SIGKILL)


def wait_for(
    moment: str, work_dir: Path, process: subprocess.Popen[bytes], lines: int, seconds: float, rng: random.Random
) -> bool:
    """Wait until a training reaches the moment to kill it.

    Args:
        moment: Activity at which to kill it.
        work_dir: Work dir of the training.
        process: Process of the training.
        lines: Number of log lines after which it is killed in an iteration.
        seconds: Delay after these lines.
        rng: Random generator for the delay at other moments.

    Returns:
        Whether it was reached; False if the training ended before.
    """
    is_there: dict[str, Callable[[], bool]] = {
        'iteration': lambda: _logged(work_dir) >= lines,
        'saving': lambda: any(work_dir.glob('.*.pth.*.part')),
        'validation': lambda: (work_dir / 'predictions/.part').is_dir(),
        'drawing': lambda: any(work_dir.glob('*/vis_data/vis_image/.*.part')),
    }
    while process.poll() is None:
        if is_there[moment]():
            time.sleep(seconds if moment == 'iteration' else rng.uniform(0, 0.02))
            return process.poll() is None
        time.sleep(0.0005)
    return False


def _logged(work_dir: Path) -> int:
    """Return the number of lines that a training has logged."""
    return sum(log.read_bytes().count(b'\n') for log in work_dir.glob('*/vis_data/scalars.json'))


def checkpoint_differences(one: Path, other: Path) -> Iterator[str]:
    """Yield the differences between the last checkpoints and the logs of two work dirs."""
    checkpoints = []
    for work_dir in (one, other):
        path, _ = latest_checkpoint(work_dir)
        if path is None or is_corrupt(path):
            yield f'{work_dir} has no intact checkpoint'
            return
        checkpoints.append(torch.load(path, map_location='cpu', weights_only=False))
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'message_hub'):
        yield from _differing(part, *(checkpoint.get(part) for checkpoint in checkpoints))
    rows = [_rows(work_dir) for work_dir in (one, other)]
    if len(rows[0]) != len(rows[1]):
        yield f'the log has {len(rows[1])} lines, not {len(rows[0])}'
    for number, (expected, found) in enumerate(zip(*rows), start=1):
        if expected != found:
            yield f'line {number} of the log is {found}, not {expected}'


def _differing(name: str, one: Any, other: Any) -> Iterator[str]:
    if name.rpartition('.')[2].rpartition('/')[2] in UNEQUAL:
        return
    if isinstance(one, torch.Tensor):
        if not torch.equal(one, other):
            yield name
    elif isinstance(one, dict):
        for key in one.keys() | other.keys():
            yield from _differing(f'{name}.{key}', one.get(key), other.get(key))
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            yield name
        for index, (left, right) in enumerate(zip(one, other)):
            yield from _differing(f'{name}.{index}', left, right)
    elif type(one).__name__ == 'HistoryBuffer':
        if not all((left == right).all() for left, right in zip(one.data, other.data)):
            yield name
    elif one != other:
        yield name


def _rows(work_dir: Path) -> list[dict[str, Any]]:
    """Read the log of the last start of a training, which includes the earlier ones."""
    lines = max(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in UNEQUAL} for line in lines]


if __name__ == '__main__':
    _start.run(main)
