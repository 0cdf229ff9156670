import json

import pytest

from fnoise_mmdet.datasets import read_coco
from fnoise_mmdet.datasets.split import read_labelled_ids, split_coco
from fnoise_mmdet.errors import InputError


@pytest.fixture
def ann_file(shapes):
    return shapes / 'annotations/instances_train.json'


def ids(path):
    return [image['id'] for image in read_coco(path)['images']]


def test_every_image_is_in_one_of_the_two(ann_file, tmp_path):
    labelled, unlabelled = split_coco(ann_file, tmp_path, percent=25)
    assert labelled.name == 'instances_train.1@25.json' and unlabelled.name == 'instances_train.1@25-unlabeled.json'
    assert len(ids(labelled)) == 4, 'exactly 25 % of 16'
    assert sorted(ids(labelled) + ids(unlabelled)) == ids(ann_file)
    source = read_coco(ann_file)
    for path in (labelled, unlabelled):
        coco = read_coco(path)
        assert coco['categories'] == source['categories']
        assert coco['annotations'] == [ann for ann in source['annotations'] if ann['image_id'] in ids(path)]


def test_folds_differ_and_are_repeated(ann_file, tmp_path):
    draws = [ids(split_coco(ann_file, tmp_path / str(n), number=5, fold=fold)[0]) for n, fold in enumerate((1, 2, 1))]
    assert draws[0] == draws[2] != draws[1] and all(len(draw) == 5 for draw in draws)


def test_images_without_objects_are_not_labelled(ann_file, tmp_path):
    coco = read_coco(ann_file)
    coco['annotations'] = [ann for ann in coco['annotations'] if ann['image_id'] in (3, 7)]
    path = tmp_path / 'few.json'
    path.write_text(json.dumps(coco))
    assert ids(split_coco(path, tmp_path, number=2)[0]) == [3, 7]
    with pytest.raises(InputError, match='3 labelled images were requested, .* 16 images, 2 of them with a non-crowd'):
        split_coco(path, tmp_path, number=3)


def test_published_ids(ann_file, tmp_path):
    (tmp_path / 'ids.json').write_text('[2, 9]')
    found = split_coco(ann_file, tmp_path, ids=read_labelled_ids(tmp_path / 'ids.json'))
    assert ids(found[0]) == [2, 9] and found[0].name == 'instances_train.1@2_images.json'
    assert read_labelled_ids(found[0]) == [2, 9], 'an annotation file names its images'
    with pytest.raises(InputError, match='1 of 2 ids are not in .*, e.g. 99'):
        split_coco(ann_file, tmp_path / 'other', ids=[2, 99])
    assert not (tmp_path / 'other').exists()


def test_an_image_is_labelled_and_another_one_is_not(ann_file, tmp_path):
    for chosen in (dict(ids=[]), dict(ids=list(range(1, 17))), dict(number=16)):
        with pytest.raises(InputError, match='at least one (must stay|image) unlabelled'):
            split_coco(ann_file, tmp_path / 'out', **chosen)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'content', ['{', '{"images": [1]}', '[[1]]', '3', '[true, 2]', pytest.param('[' * 100_000, id='deep')]
)
def test_file_of_something_else_has_no_ids(tmp_path, content):
    (tmp_path / 'x.json').write_text(content)
    with pytest.raises(InputError, match='is neither a JSON list of image ids nor an annotation file'):
        read_labelled_ids(tmp_path / 'x.json')


def test_nothing_is_overwritten(ann_file, tmp_path):
    first = split_coco(ann_file, tmp_path, number=5)[0].read_bytes()
    with pytest.raises(InputError, match='already exists and is not changed'):
        split_coco(ann_file, tmp_path, number=5)
    assert (tmp_path / 'instances_train.1@5_images.json').read_bytes() == first


def test_one_way_to_choose(ann_file, tmp_path):
    for wrong in ({}, dict(percent=5, number=3)):
        with pytest.raises(ValueError, match='exactly one of percent, number and ids must be set'):
            split_coco(ann_file, tmp_path, **wrong)
