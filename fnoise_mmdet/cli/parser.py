"""Argument parser with examples in its help, and suggestions for misspelt options."""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..choices import COMMANDS
from ..errors import did_you_mean

UNKNOWN = 'unrecognized arguments: '  # as argparse words it


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep line breaks of description and examples, and append the default to the help of an option."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        without = default is None or default is False or default is argparse.SUPPRESS or default == []
        if not action.help or 'default' in action.help or without:
            return action.help and _named_configs(action.help)
        shown = ' '.join(map(str, default)) if isinstance(default, list) else str(default)
        return f'{_named_configs(action.help)} (default: {shown.replace("%", "%%")})'


class _UnsupportedOption(argparse.Action):
    """Option that the command does not support; its constant says what to do instead."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f'{self.option_strings[0]} is not supported: {self.const}')


class ArgumentParser(argparse.ArgumentParser):
    """Argument parser whose help ends with examples, and whose errors suggest similar options.

    Args:
        description: What the command does.
        examples: Arguments of the command. Their ``configs/`` is that of a checkout; see :func:`_named_configs`.
        answers: Alternatives to options of mmdet's tools that the command does not support.
        **settings: Of :class:`argparse.ArgumentParser`.
    """

    def __init__(
        self,
        description: str = '',
        examples: Sequence[str] = (),
        answers: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        width = shutil.get_terminal_size().columns - 2
        command = ' '.join(command_name())
        super().__init__(
            description=textwrap.fill(description, width),
            epilog='\n'.join(
                ['examples:', *(_wrapped(f'{command} {_named_configs(one)}', width) for one in examples)]
                if examples
                else []
            ),
            formatter_class=HelpFormatter,
            **settings,
        )
        for option, answer in (answers or {}).items():
            self.add_argument(option, action=_UnsupportedOption, const=answer, nargs='?', help=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        """Print usage and error with a suggestion, or else where the help is, and exit with status 2."""
        command = ' '.join(command_name()) + self.prog.removeprefix(Path(sys.argv[0]).name)  # with that of a subparser
        hint = '' if message.endswith('?') else f'; see {command} --help'  # unless it has a suggestion already
        super().error(message + (self._suggestion(message) or hint))

    def _suggestion(self, message: str) -> str:
        if message.startswith(UNKNOWN):
            given = [word.partition('=')[0] for word in message[len(UNKNOWN) :].split() if word.startswith('-')]
            for option in given:
                if near := did_you_mean(option, self._option_string_actions):
                    return near
        elif choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            choices = [word.strip("'") for word in choice[2].split(', ')]
            return did_you_mean(choice[1], choices)
        return ''


def command_name() -> list[str]:
    """Return the words that started this process, without its arguments: ``python FILE.py`` or ``fnoise COMMAND``."""
    return ['python', sys.argv[0]] if sys.argv[0].endswith('.py') else Path(sys.argv[0]).name.split()


def command_for(script: str) -> str:
    """Return how to start another command, as this process was started: ``fnoise infer`` or ``tools/infer.py``.

    Args:
        script: A value of :data:`~.choices.COMMANDS`.
    """
    started = Path(sys.argv[0])
    if started.name.split()[:1] == ['fnoise']:
        return f'fnoise {next(name for name, its in COMMANDS.items() if its == script)}'
    folder = started.parent if started.parent.name == 'tools' else Path('tools')
    return f'{folder}/{script}.py'


def _named_configs(text: str) -> str:
    """Return a help text with the names of configs that ``fnoise`` finds without a checkout, if it was started so."""
    return text.replace('configs/', 'fnoise_mmdet::') if command_name()[0] == 'fnoise' else text


def _wrapped(command: str, width: int) -> str:
    """Break a command into lines that a shell joins again."""
    lines = textwrap.wrap(
        command,
        width - 2,
        initial_indent='  ',
        subsequent_indent='      ',
        break_long_words=False,
        break_on_hyphens=False,
    )
    return ' \\\n'.join(lines)
