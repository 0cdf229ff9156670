import json
import shutil

import pytest

from fnoise_mmdet.datasets import Split, check_images, class_names, find_split, missing_images, read_coco
from fnoise_mmdet.errors import InputError


def test_find_split_by_plain_names(shapes):
    assert find_split(shapes, 'train') == Split('annotations/instances_train.json', 'train/')
    assert find_split(shapes, 'test') == Split('annotations/instances_test.json', 'test/')


def test_find_split_by_the_names_of_coco_2017(tmp_path):
    (tmp_path / 'annotations').mkdir()
    for part in ('train', 'val'):
        (tmp_path / 'annotations' / f'instances_{part}2017.json').touch()
        (tmp_path / f'{part}2017').mkdir()
    assert find_split(tmp_path, 'train') == Split('annotations/instances_train2017.json', 'train2017/')
    # COCO's test annotations are not public.
    assert find_split(tmp_path, 'test') == find_split(tmp_path, 'val')


def test_find_split_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match='nowhere is not a folder'):
        find_split(tmp_path / 'nowhere', 'train')
    with pytest.raises(InputError, match='no train annotations.*instances_train.json.*instances_train2017.json'):
        find_split(tmp_path, 'train')
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/instances_train.json').touch()
    with pytest.raises(InputError, match='no train images: none of the folders train/, train2017/, images/'):
        find_split(tmp_path, 'train')


COCO_CONTENT = dict(
    images=[dict(id=1, file_name='a.jpg', width=4, height=4)],
    annotations=[dict(id=1, image_id=1, category_id=7, bbox=[0, 0, 2, 2])],
    categories=[dict(id=7, name='cat'), dict(id=3, name='dog')],
)


def test_read_coco_and_class_names(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(COCO_CONTENT))
    assert read_coco(path) == COCO_CONTENT
    assert class_names(COCO_CONTENT) == ('cat', 'dog')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('<html>', 'cannot be read as JSON'),
        ('[]', 'must be an object with images, annotations, categories, but is a list'),
        ('{"images": []}', "no list 'annotations'"),
        (json.dumps({**COCO_CONTENT, 'images': [{'id': 1}]}), r'images\[0\] has no file_name, width, height'),
        (json.dumps({**COCO_CONTENT, 'annotations': [{'bbox': []}]}), r'annotations\[0\] has no image_id'),
        (json.dumps({**COCO_CONTENT, 'categories': ['cat']}), r'categories\[0\] has no id, name'),
    ],
)
def test_read_coco_refuses_other_content(tmp_path, content, message):
    path = tmp_path / 'a.json'
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_coco(path)


def test_read_coco_without_a_file(tmp_path):
    with pytest.raises(InputError, match='not found'):
        read_coco(tmp_path / 'a.json')


def test_missing_images_are_named(shapes, tmp_path):
    coco = read_coco(shapes / 'annotations/instances_val.json')
    folder = tmp_path / 'val'
    shutil.copytree(shapes / 'val', folder)
    assert missing_images(coco, folder) == []
    (folder / '000003.png').unlink()
    assert missing_images(coco, folder) == ['000003.png']
    with pytest.raises(InputError, match='1 of 4 images are missing in .*val, the first one is 000003.png'):
        check_images(coco, folder)
