import argparse

import pytest

from fnoise_mmdet.cli import options
from fnoise_mmdet.errors import InputError


@pytest.mark.parametrize(
    ('kind', 'text', 'message'),
    [
        (options.seed, str(2**32), 'must be <= 4294967295, but got 4294967296'),
        (options.seed, '-1', 'must be >= 0, but got -1'),
        (options.between(0, 1), '7', 'must be >= 0 and <= 1, but got 7'),
        (options.between(0, 1), 'nan', 'must be >= 0 and <= 1, but got nan'),
        (options.between(0), 'inf', 'must be >= 0 and finite, but got inf'),
        (options.between(0), '-0.5', 'must be >= 0 and finite, but got -0.5'),
    ],
)
def test_numbers_out_of_range_are_named(kind, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(text)


def test_numbers_in_range():
    assert options.seed('4294967295') == 2**32 - 1 and options.at_least(64, 4096)('4096') == 4096
    assert options.between(0, 1)('1') == 1.0 and options.between(0)('0.5') == 0.5


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(InputError, match=f'config {tmp_path} is a folder: name a file in it'):
        options.check_config_path(str(tmp_path))


@pytest.mark.parametrize('path', ['my_config.py', 'mmdet::x/y.py', 'photos/', 'epoch_10.pth'])
def test_a_path_is_no_noise(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'epoch_10.pth').touch()
    parser = argparse.ArgumentParser()
    parser.add_argument('path')
    options.add_config_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['--fnoise', path])
    assert f'put it before --fnoise, or name the noise, as in --fnoise cct {path}' in capsys.readouterr().err
    assert parser.parse_args([path, '--fnoise']).fnoise == 'cct'
    assert parser.parse_args(['--fnoise', 'DSU@backbone.layer1:0,1', path]).fnoise == 'DSU@backbone.layer1:0,1'


@pytest.mark.parametrize('setting', ['cfg=1', 'cfg.x=1', 'processes=2', 'unlabelled=x'])
def test_arguments_of_make_semi_that_are_no_settings_are_refused(setting, capsys):
    parser = argparse.ArgumentParser()
    options.add_training_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['--semi', 'x.json', setting])
    assert f'--semi: {setting.partition("=")[0]} is no setting' in capsys.readouterr().err
