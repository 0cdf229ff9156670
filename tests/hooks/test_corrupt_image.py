import shutil

import pytest

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.hooks import CorruptImageHook


@pytest.fixture
def shapes(shapes, tmp_path):
    """The data set with an image that is none."""
    data = shutil.copytree(shapes, tmp_path / 'data')
    (data / 'train/000003.png').write_bytes(b'\x89PNG, but no more')
    return data


def test_a_corrupt_image_is_named(train):
    with pytest.raises(
        InputError, match=r'image .*000003.png cannot be used, it cannot be read as an image: replace it'
    ):
        train('demo_baseline.py', 'stop', custom_hooks=[dict(type='CorruptImageHook')])


def test_a_corrupt_image_is_skipped_and_counted(train, shapes, capsys):
    runner = train('demo_baseline.py', 'skip', custom_hooks=[dict(type='CorruptImageHook', action='skip')])
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CorruptImageHook))
    assert runner.iter == 4 and hook.skipped >= 1
    assert f'skipped {shapes}/train/000003.png' in capsys.readouterr().err


def test_wrong_action():
    with pytest.raises(ValueError, match=r"action must be one of \('stop', 'skip'\), but got 'go'"):
        CorruptImageHook('go')
