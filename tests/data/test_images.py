import shutil

import pytest
from hostile_images import LEFT_OUT, TOO_NARROW, WORKING

from fnoise_mmdet.data.images import find_images, image_fault, readable_images
from fnoise_mmdet.errors import InputError


def test_images_of_files_and_folders_in_order(shapes, tmp_path):
    single = shutil.copy(shapes / 'val/000001.png', tmp_path / 'any.name')
    found = find_images([shapes / 'test', tmp_path / 'any.name'])
    assert [path.name for path in found] == ['000001.png', '000002.png', 'any.name'] and found[-1] == single


def test_unreadable_images_are_named_and_left_out(shapes, tmp_path, capsys):
    folder = shutil.copytree(shapes / 'test', tmp_path / 'images')
    (folder / 'broken.png').write_bytes(b'not an image')
    (folder / 'empty.JPG').touch()
    (folder / 'note.txt').write_text('no image by its name')
    assert [path.name for path in readable_images([folder])] == ['000001.png', '000002.png']
    told = capsys.readouterr().out
    assert 'broken.png: it cannot be read as an image' in told and 'empty.JPG: it is empty' in told


def test_wrong_inputs_are_refused(shapes, tmp_path):
    with pytest.raises(InputError, match='neither an image nor a folder'):
        find_images([tmp_path / 'nowhere'])
    with pytest.raises(InputError, match='has no image'):
        find_images([tmp_path])
    with pytest.raises(InputError, match='occur twice, e.g. 000001.png'):
        find_images([shapes / 'val', shapes / 'test'])
    for name in ('b.jpg', 'b.png'):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match='1 file names occur twice, e.g. b.jpg'):
        find_images([tmp_path])
    (tmp_path / 'a.png').touch()
    with pytest.raises(InputError, match='none of the inputs can be read'):
        readable_images([tmp_path / 'a.png'])


@pytest.mark.parametrize('name', sorted(LEFT_OUT))
def test_faults(hostile, name):
    assert LEFT_OUT[name] in image_fault(hostile / name)


def test_no_faults(hostile):
    assert {path.name for path in readable_images([hostile])} == WORKING | TOO_NARROW
