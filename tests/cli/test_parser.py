import argparse

import pytest

from fnoise_mmdet.cli.parser import ArgumentParser, command_for


@pytest.fixture
def parser(monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    monkeypatch.setattr('sys.argv', ['tools/measure.py'])
    parser = ArgumentParser(
        'Measure how long a word is, or a list of words, one after the other.',
        ['word --repeat 3', f'{" ".join(["word"] * 12)} --repeat 3'],
        answers={'--show': 'save a picture with --show-dir DIR'},
    )
    parser.add_argument('words', nargs='+')
    parser.add_argument('--repeat', type=int, default=0, help='how often, with 50 %% of a break')
    parser.add_argument('--lengths', type=int, nargs='+', default=[1, 2], help='lengths')
    parser.add_argument('--fast', action='store_true', help='without a break')
    parser.add_argument('--show-dir', help='folder (default: none)')
    parser.add_argument('--scale', default=argparse.SUPPRESS, help='a factor')
    parser.add_argument('--order', choices=['forwards', 'backwards'])
    return parser


def test_examples_can_be_pasted(parser):
    text = parser.format_help()
    first, second = text.partition('examples:\n')[2].split('\n', 1)
    assert first == '  python tools/measure.py word --repeat 3'
    assert (
        ' '.join(second.replace('\\\n', ' ').split()) == f'python tools/measure.py {" ".join(["word"] * 12)} --repeat 3'
    )
    assert all(len(line) <= 60 for line in text.splitlines())


def test_an_installed_command_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr('sys.argv', ['/usr/bin/measure'])
    assert '\n  measure word' in ArgumentParser('', ['word']).format_help()


@pytest.mark.parametrize(
    ('started', 'config'), [('fnoise train', 'fnoise_mmdet::fnoise.py'), ('tools/train.py', 'configs/fnoise.py')]
)
def test_configs_are_named_as_the_command_finds_them(monkeypatch, started, config):
    monkeypatch.setattr('sys.argv', [started])
    parser = ArgumentParser('', ['configs/fnoise.py --amp'])
    parser.add_argument('config', help='config, e.g. configs/fnoise.py')
    text = parser.format_help()
    assert f' {config} --amp' in text and f'config, e.g. {config}' in text


@pytest.mark.parametrize(
    'shown',
    [
        'break\n                        (default: 0)',
        'lengths (default: 1 2)',
        'folder (default: none)',
        'without a break\n',
        'a factor\n',
    ],
)
def test_defaults_are_shown_once(parser, shown):
    assert shown in parser.format_help()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--repaet', '3'], 'unrecognized arguments: --repaet 3, did you mean --repeat?'),
        (['--colour=red'], 'unrecognized arguments: --colour=red; see python tools/measure.py --help\n'),
        (['--order', 'forward'], 'did you mean forwards?'),
        (['--show'], '--show is not supported: save a picture with --show-dir DIR'),
        (['--show=1'], '--show is not supported: save a picture with --show-dir DIR'),
        (['--repeat', 'often'], "invalid int value: 'often'; see python tools/measure.py --help\n"),
    ],
)
def test_errors_say_what_to_do(parser, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(['word', *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_commands_may_have_commands(capsys, monkeypatch):
    monkeypatch.setattr('sys.argv', ['tools/measure.py'])
    parser = ArgumentParser()
    command = parser.add_subparsers().add_parser('run', help='run')
    command.add_argument('--repeat')
    with pytest.raises(SystemExit):
        parser.parse_args(['run', '--repat', '3'])
    assert 'unrecognized arguments' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser.parse_args(['run', '--repeat'])
    assert capsys.readouterr().err.endswith('; see python tools/measure.py run --help\n')


def test_abbreviations_stay(parser):
    assert parser.parse_args(['word', '--rep', '3']).repeat == 3
    assert isinstance(parser, argparse.ArgumentParser)


@pytest.mark.parametrize(
    'started, expected',
    [
        ('tools/train.py', 'tools/infer.py'),
        ('/lib/.mim/tools/train.py', '/lib/.mim/tools/infer.py'),
        ('fnoise train', 'fnoise infer'),
        ('my_training.py', 'tools/infer.py'),
    ],
)
def test_another_command_is_named_as_this_one_was_started(monkeypatch, started, expected):
    monkeypatch.setattr('sys.argv', [started])
    assert command_for('infer') == expected
