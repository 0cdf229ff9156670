import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile_images import LEFT_OUT, TOO_NARROW, WORKING
from PIL import Image

from fnoise_mmdet.datasets.images import (
    ORIENTATION,
    check_image_files,
    decode,
    find_images,
    header_fault,
    image_fault,
    output_stem,
    printable,
    readable_images,
)
from fnoise_mmdet.errors import InputError


def test_images_of_files_and_folders_in_order(shapes, tmp_path):
    single = shutil.copy(shapes / 'val/000001.png', tmp_path / 'any.name')
    found = find_images([shapes / 'test', tmp_path / 'any.name'])
    assert [path.name for path in found] == ['000001.png', '000002.png', 'any.name'] and found[-1] == single


def test_unreadable_images_are_named_and_skipped(shapes, tmp_path, capsys):
    folder = shutil.copytree(shapes / 'test', tmp_path / 'images')
    (folder / 'broken.png').write_bytes(b'not an image')
    (folder / 'empty.JPG').touch()
    (folder / 'note.txt').write_text('no image by its name')
    assert [path.name for path in readable_images([folder])] == ['000001.png', '000002.png']
    told = capsys.readouterr().out
    assert 'broken.png: it cannot be read as an image' in told and 'empty.JPG: it is empty' in told


def test_wrong_inputs_are_refused(shapes, tmp_path):
    with pytest.raises(InputError, match='neither an image file nor a folder'):
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


def test_the_corpus_is_large():
    assert len(LEFT_OUT) + len(TOO_NARROW) + len(WORKING) >= 50


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        (b'\xe4.png', '%E4.png'),
        ('größe 图.jpg'.encode(), 'größe 图.jpg'),
        (b'a\nb\x1b[31m.jpg', 'a%0Ab%1B[31m.jpg'),
    ],
)
def test_names_are_shown_on_one_line_of_text(name, shown):
    assert printable(os.fsdecode(name)) == shown


@pytest.mark.parametrize('size', [(1, 1), (60000, 60000)])
def test_formats_without_a_limit_on_their_size_are_refused(tmp_path, size):
    cv2.imwrite(str(tmp_path / 'x.hdr'), np.zeros((1, 1, 3), np.float32))
    height, width = size
    content = (tmp_path / 'x.hdr').read_bytes().replace(b'-Y 1 +X 1', b'-Y %d +X %d' % (height, width))
    path = tmp_path / 'x.png'
    path.write_bytes(content)
    assert decode(path) is not None or size != (1, 1), 'OpenCV reads it'
    assert 'it cannot be read as an image: it is none of BMP, ' in header_fault(path)
    with pytest.raises(InputError, match='x.png cannot be decoded: it cannot be read as an image'):
        check_image_files([dict(file_name='x.png', width=width, height=height)], tmp_path)


def test_names_of_outputs(tmp_path):
    assert output_stem(Path(os.fsdecode(b'\xe4.png'))) == '%E4'
    long = [output_stem(Path('y' * 250 + end + '.jpg')) for end in ('a', 'b')]
    assert max(map(len, long)) == 240 and long[0] != long[1]
    for name in (b'\xe4.png', '%E4.png'):
        (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(InputError, match='1 file names occur twice, e.g. %E4.png'):
        find_images([tmp_path])


def test_headers_are_checked_for_all_and_some_are_decoded(shapes, tmp_path):
    folder = shutil.copytree(shapes / 'train', tmp_path / 'images')
    images = [dict(file_name=f'{n + 1:06d}.png', width=64, height=64) for n in range(16)]
    check_image_files(images, folder)
    check_image_files([dict(images[0], file_name='nowhere.png')], folder)  # told by check_images
    image = Image.open(folder / '000003.png')
    image.resize((64, 32)).save(folder / '000003.png')
    (folder / '000005.png').write_bytes((folder / '000005.png').read_bytes()[:-100])
    with pytest.raises(InputError) as raised:
        check_image_files(images, folder)
    assert [re.sub('^image .*/', '', line) for line in str(raised.value).splitlines()] == [
        '000005.png cannot be decoded: it is not a complete image: image file is truncated',
        '000003.png has 64 x 32 pixels, but 64 x 64 in the annotations',
    ]


@pytest.mark.parametrize('only_header', [False, True])
def test_an_image_that_lies_on_its_side_has_the_size_that_mmdet_sees(shapes, tmp_path, monkeypatch, only_header):
    if only_header:
        monkeypatch.setattr('fnoise_mmdet.datasets.images.DECODED_IMAGES', 1)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for name in ('a.jpg', 'b.jpg'):
        Image.open(shapes / 'train/000003.png').convert('RGB').resize((60, 30)).save(tmp_path / name, exif=exif)
    check_image_files([dict(file_name=name, width=30, height=60) for name in ('a.jpg', 'b.jpg')], tmp_path)
    with pytest.raises(InputError, match='has .* pixels, but 31 x 60 in the annotations'):
        check_image_files([dict(file_name=name, width=31, height=60) for name in ('a.jpg', 'b.jpg')], tmp_path)
