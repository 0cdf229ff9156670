import pytest

from fnoise_mmdet.data.files import staged_folder
from fnoise_mmdet.errors import InputError


@pytest.fixture
def taken(tmp_path):
    """A folder with something in it."""
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'old.txt').write_text('old')
    return out


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_appears_whole(tmp_path):
    with staged_folder(tmp_path / 'a/out') as folder:
        (folder / 'x').touch()
        assert not (tmp_path / 'a/out').exists()
    assert names(tmp_path / 'a') == ['out'] and names(tmp_path / 'a/out') == ['x']


def test_what_is_there_is_left_as_it_is(taken):
    with pytest.raises(InputError, match='is left as it is; name another folder'), staged_folder(taken):
        pass
    assert names(taken) == ['old.txt']


def test_force_replaces_it(taken):
    with staged_folder(taken, force=True) as folder:
        (folder / 'new.txt').touch()
        assert names(taken) == ['old.txt'], 'until the new one is complete'
    assert names(taken) == ['new.txt'] and names(taken.parent) == ['out']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(taken, error):
    with pytest.raises(error), staged_folder(taken, force=True) as folder:
        (folder / 'half').touch()
        raise error
    assert names(taken.parent) == ['out'] and names(taken) == ['old.txt']


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / 'out').write_text('mine')
    with pytest.raises(InputError, match='exists already'), staged_folder(tmp_path / 'out', force=True):
        pass
    assert (tmp_path / 'out').read_text() == 'mine'


def test_the_folder_that_the_command_runs_in_is_never_replaced(taken, monkeypatch):
    (taken / 'inside').mkdir()
    monkeypatch.chdir(taken / 'inside')
    with pytest.raises(InputError, match='cannot be replaced'), staged_folder(taken, force=True):
        pass
    assert names(taken) == ['inside', 'old.txt']


def test_a_link_stays_and_leads_to_the_new_folder(taken):
    link = taken.parent / 'link'
    link.symlink_to(taken)
    with staged_folder(link, force=True) as folder:
        (folder / 'new.txt').touch()
    assert link.is_symlink() and names(taken) == ['new.txt']
