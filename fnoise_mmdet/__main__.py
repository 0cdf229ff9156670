"""Entry of the command lines: ``fnoise COMMAND``, ``python -m fnoise_mmdet COMMAND`` and the scripts in ``tools/``."""

import importlib
import sys

from .choices import COMMANDS
from .cli import processes, streams
from .cli.parser import ArgumentParser
from .version import __version__

NEEDED = ('torch', 'mmengine', 'mmcv', 'mmdet')  # packages without which no command runs


def run(command: str) -> None:
    """Run a command with the arguments of this process.

    Args:
        command: A value of :data:`~.choices.COMMANDS`.
    """
    streams.protect()
    processes.protect()
    args = importlib.import_module(f'.cli.{command}', __package__).parse_args()
    try:
        with streams.quiet_imports():
            start = importlib.import_module('.commands.start', __package__)
            main = importlib.import_module(f'.commands.{command}', __package__).main
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in NEEDED:
            sys.exit(
                f'error: this command needs {error.name}, which is not installed: install mmdet with its dependencies'
            )
        if error.name is None:  # a message of ours, see registration.py
            sys.exit(f'error: {error}')
        raise
    processes.raise_keyboard_interrupt()
    start.run_command(main, args)


def main() -> None:
    """Run the command named by the first one or two arguments."""
    words = sys.argv[1:]
    sys.argv[0] = 'fnoise'
    for count in (1, 2):
        name = ' '.join(words[:count])
        if name in COMMANDS:
            sys.argv[:] = [f'fnoise {name}', *words[count:]]
            run(COMMANDS[name])
            return
    group = words[0] if words and any(name.startswith(f'{words[0]} ') for name in COMMANDS) else ''
    examples = [
        'show mmdet::retinanet/retinanet_r50_fpn_1x_coco.py photos/ --fnoise --out shown',
        'train my_config.py --fnoise --pictures',
        'pair my_config.py --out work_dirs/pair',
        'dataset shapes --out data/shapes',
    ]
    parser = ArgumentParser(
        'F-Noise (feature noise) for MMDetection: train, visualize, compare. Each command has --help.',
        examples=[example for example in examples if example.startswith(group)],
    )
    lines = [
        f'  {name:16}{importlib.import_module(f".cli.{module}", __package__).__doc__}'
        for name, module in COMMANDS.items()
        if name.startswith(group)
    ]
    parser.epilog = '\n'.join(['commands:', *lines, '', parser.epilog or ''])
    parser.add_argument('command', choices=list(COMMANDS), metavar='COMMAND', help='one of the commands below')
    parser.add_argument('--version', action='version', version=__version__)
    given = words[1:2] if group else words[:1]
    if not given:
        parser.print_help(sys.stderr)
        names = ', '.join(name for name in COMMANDS if name.startswith(group))
        parser.exit(2, f'\nfnoise: error: the following arguments are required: COMMAND (choose from {names})\n')
    parser.parse_args([f'{group} {word}' if group and not word.startswith('-') else word for word in given])


if __name__ == '__main__':
    main()
