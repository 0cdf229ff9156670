import os
import stat

import pytest

from fnoise_mmdet.engine.caches import provide_caches

VARIABLES = ('XDG_CACHE_HOME', 'MPLCONFIGDIR', 'TRITON_CACHE_DIR')


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return a user whose HOME is a file, and a folder for temporary files."""
    (tmp_path / 'home').touch()
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
    monkeypatch.setattr(os, 'environ', {'HOME': str(tmp_path / 'home')})
    return tmp_path


def test_caches_stay_where_they_can_be_written(environment):
    os.environ['HOME'] = str(environment / 'new')
    provide_caches()
    assert not any(variable in os.environ for variable in VARIABLES)


def test_caches_go_to_a_private_folder(environment):
    provide_caches()
    folder = environment / f'temporary/fnoise_mmdet_{os.geteuid()}'
    assert os.environ['XDG_CACHE_HOME'] == str(folder) and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.environ['MPLCONFIGDIR'] == str(folder / 'matplotlib')
    del os.environ['XDG_CACHE_HOME']
    provide_caches()
    assert os.environ['XDG_CACHE_HOME'] == str(folder), 'as before'


def test_folder_of_another_user_is_not_used(environment):
    folder = environment / f'temporary/fnoise_mmdet_{os.geteuid()}'
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    provide_caches()
    assert os.environ['XDG_CACHE_HOME'] not in ('', str(folder))


def test_settings_of_the_user_are_kept_where_they_work(environment):
    os.environ['MPLCONFIGDIR'] = str(environment / 'mine')
    os.environ['TRITON_CACHE_DIR'] = str(environment / 'home/not')
    provide_caches()
    assert os.environ['MPLCONFIGDIR'] == str(environment / 'mine')
    assert os.environ['TRITON_CACHE_DIR'].endswith('triton') and 'home' not in os.environ['TRITON_CACHE_DIR']


def test_no_place_at_all(environment, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(environment / 'home/not'))
    provide_caches()
    assert 'XDG_CACHE_HOME' not in os.environ
