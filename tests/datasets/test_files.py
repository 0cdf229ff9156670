import contextlib
import errno
import os
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from fnoise_mmdet.datasets.files import (
    check_free,
    check_writable,
    file_error,
    read_json,
    remove_partial_files,
    staged_folder,
    write_atomically,
    write_picture,
)
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
    with pytest.raises(InputError, match='is not changed; use another folder'), staged_folder(taken):
        pass
    assert names(taken) == ['old.txt']


def test_force_is_named_where_it_helps(taken):
    with pytest.raises(InputError, match='or replace it with --force'):
        check_free(taken, force=False)
    for out, force in ((taken, None), (taken / 'old.txt', False)):
        with pytest.raises(InputError, match='already exists .*remove it first$'):
            check_free(out, force)


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
    with pytest.raises(InputError, match='already exists'), staged_folder(tmp_path / 'out', force=True):
        pass
    assert (tmp_path / 'out').read_text() == 'mine'


def test_the_folder_that_the_command_runs_in_is_never_replaced(taken, monkeypatch):
    (taken / 'inside').mkdir()
    monkeypatch.chdir(taken / 'inside')
    with pytest.raises(InputError, match='cannot be replaced'), staged_folder(taken, force=True):
        pass
    assert names(taken) == ['inside', 'old.txt']


@pytest.mark.parametrize('name', ['', 'old.txt', 'a/b.txt', 'link.txt'])
def test_a_folder_with_an_input_is_never_replaced(taken, name):
    (taken / 'link.txt').symlink_to('old.txt')
    inputs = [taken.parent / 'other', taken / name]
    with pytest.raises(InputError, match='which this command reads'), staged_folder(taken, True, inputs):
        pass
    assert names(taken) == ['link.txt', 'old.txt']
    with staged_folder(taken, True, [taken.parent, 'other']) as folder:
        (folder / 'new.txt').touch()
    assert names(taken) == ['new.txt']


def test_a_link_stays_and_leads_to_the_new_folder(taken):
    link = taken.parent / 'link'
    link.symlink_to(taken)
    with staged_folder(link, force=True) as folder:
        (folder / 'new.txt').touch()
    assert link.is_symlink() and names(taken) == ['new.txt']


def in_killed_process(work):
    """Do some work in a process that ends by SIGKILL."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            work()
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize('moment', ['writing', 'replacing'])
def test_what_a_killed_process_has_left_is_undone(taken, moment):
    def work():
        replace = Path.replace

        def kill_or_replace(path, to):
            if to.name == 'out':  # between the two renames
                os.kill(os.getpid(), signal.SIGKILL)
            replace(path, to)

        Path.replace = kill_or_replace
        with staged_folder(taken, force=True) as folder:
            (folder / 'half').touch()
            if moment == 'writing':
                os.kill(os.getpid(), signal.SIGKILL)

    in_killed_process(work)
    assert len(names(taken.parent)) == 2, 'nothing was left'
    with pytest.raises(InputError, match='is not changed'), staged_folder(taken):
        pass
    assert names(taken.parent) == ['out'] and names(taken) == ['old.txt']


def test_work_of_another_process_is_left_alone(taken):
    with staged_folder(taken, force=True) as folder:
        with pytest.raises(InputError), staged_folder(taken):
            pass
        assert folder.is_dir()


def test_unfinished_files_are_removed_and_no_others(tmp_path):
    kept = ['a.pth', '.a.pth.part', 'a.12.part', '.hidden', '.a.x.part']
    for name in [*kept, '.a.pth.12.part']:
        (tmp_path / name).touch()
    remove_partial_files(tmp_path.iterdir())
    assert names(tmp_path) == sorted(kept)


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts a small disk of its own, with given options."""
    mounted = []

    def mount(options):
        path = tmp_path / f'disk_{len(mounted)}'
        path.mkdir()
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path], capture_output=True).returncode:
            pytest.skip('only root may mount a disk')
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(['umount', path], check=True)


def test_picture_is_written_as_given(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_picture(tmp_path / 'x.png', picture)
    assert (cv2.imread(str(tmp_path / 'x.png'))[..., ::-1] == picture).all()


def test_full_disk_raises_and_leaves_nothing(disk):
    small = disk('size=64k')
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    with pytest.raises(OSError) as caught, staged_folder(small / 'out') as folder:
        write_picture(folder / 'x.png', noise)
    assert caught.value.errno == errno.ENOSPC
    assert file_error(caught.value) == (
        f'{small}/out/x.png: No space left on device; free some space, or use a path on another disk'
    )
    with pytest.raises(OSError) as caught:
        write_atomically(small / 'x.bin', noise.tobytes())
    assert file_error(caught.value).startswith(f'{small}/x.bin: No space left on device')
    assert not list(small.iterdir())


def test_read_only_disk_is_named_before_the_work(disk):
    out = disk('size=64k,ro') / 'a/out'
    for check in (check_writable, check_free):
        with pytest.raises(InputError, match='cannot be written to: .*Read-only file system; use a path on a writable'):
            check(out)


def unusable_paths(folder):
    (folder / 'file').touch()
    (folder / 'loop').symlink_to(folder / 'loop')
    return {
        folder / 'file/out': 'Not a directory',
        folder / 'loop/out': 'Too many levels of symbolic links',
        folder / 'loop': 'Too many levels of symbolic links',
        folder / ('x' * 300): 'File name too long',
    }


def test_unusable_paths_are_named_before_the_work(tmp_path):
    for path, reason in unusable_paths(tmp_path).items():
        with pytest.raises(InputError, match=f'cannot be written to: .*{reason}'):
            check_free(path)


def test_folder_without_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match='cannot be written to: .*Permission denied; change its permissions'):
        check_writable(tmp_path / 'a/b')


def test_names_of_255_bytes_can_be_written(tmp_path):
    for name in ('x' * 255, 'ä' * 127):
        write_atomically(tmp_path / name, b'content')
        assert (tmp_path / name).read_bytes() == b'content'
        (tmp_path / name).unlink()
        with staged_folder(tmp_path / name) as folder:
            (folder / 'x').touch()
        assert names(tmp_path / name) == ['x']
    assert len(os.listdir(tmp_path)) == 2


def test_errors_without_a_number_are_their_last_line():
    text = 'Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\nOSError: cut\n'
    assert file_error(OSError(text)) == 'OSError: cut'
    assert file_error(OSError()) == 'OSError'


def test_a_folder_that_cannot_be_made_is_named_as_it_was_given():
    with pytest.raises(OSError) as caught, staged_folder(Path('/proc/x')):
        pass
    assert caught.value.filename == '/proc/x'


@pytest.mark.parametrize(
    'content, reason',
    [
        (None, 'No such file or directory'),
        (b'{', 'it is not valid JSON: Expecting property name .*line 1 column 2'),
        (b'"\xff"', 'it is not text in UTF-8'),
        (b'[' * 10**5, 'it is nested too deeply'),
        (b'{}', "'runs' is missing or unknown"),
        (b'[]', 'its content has another structure'),
        (b'{"runs": "many"}', "invalid literal for int.* 'many'"),
    ],
)
def test_unusable_json_is_reported_without_names_of_exceptions(tmp_path, content, reason):
    path = tmp_path / 'study.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f'study.json is not a study: {reason}'):
        read_json(path, 'is not a study', lambda study: int(study['runs']))
