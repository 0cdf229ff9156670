import json

import pytest

from fnoise_mmdet.data import check_images, find_split, read_coco, sample_coco
from fnoise_mmdet.errors import InputError

COUNTS = dict(num_train=5, num_val=2, num_test=1)


def ids(folder, part):
    return [image['id'] for image in read_coco(folder / f'annotations/instances_{part}.json')['images']]


def test_sample_is_consistent(shapes, tmp_path):
    out = tmp_path / 'sample'
    sample_coco(shapes, out, **COUNTS)
    saved = json.loads((out / 'sample.json').read_text())
    assert saved['seed'] == 0
    source = read_coco(shapes / 'annotations/instances_train.json')
    for part, count in (('train', 5), ('val', 2), ('test', 1)):
        ann_file, folder = find_split(out, part)
        coco = read_coco(out / ann_file)
        check_images(coco, out / folder)
        assert len(list((out / folder).iterdir())) == count
        assert ids(out, part) == saved['ids'][part] and len(set(ids(out, part))) == count
        assert {ann['image_id'] for ann in coco['annotations']} == set(ids(out, part))
        assert coco['categories'] == source['categories']
    assert not set(ids(out, 'val')) & set(ids(out, 'test'))
    kept = read_coco(out / 'annotations/instances_train.json')['annotations']
    assert kept == [ann for ann in source['annotations'] if ann['image_id'] in ids(out, 'train')]
    name = f'{ids(out, "train")[0]:06d}.png'
    assert (out / 'train' / name).read_bytes() == (shapes / 'train' / name).read_bytes()


def test_seed_decides(shapes, tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        sample_coco(shapes, tmp_path / name, **COUNTS, seed=seed)
    assert ids(tmp_path / 'a', 'train') == ids(tmp_path / 'b', 'train')
    assert ids(tmp_path / 'a', 'train') != ids(tmp_path / 'c', 'train')


def test_images_without_objects_are_not_drawn(shapes, tmp_path):
    ann_file = shapes / 'annotations/instances_val.json'
    original = ann_file.read_text()
    coco = json.loads(original)
    coco['annotations'] = [
        {**ann, 'iscrowd': int(ann['image_id'] == 2)} for ann in coco['annotations'] if ann['image_id'] != 1
    ]
    ann_file.write_text(json.dumps(coco))
    try:
        sample_coco(shapes, tmp_path / 'a', num_train=1, num_val=1, num_test=1)
        assert set(ids(tmp_path / 'a', 'val') + ids(tmp_path / 'a', 'test')) == {3, 4}
        with pytest.raises(InputError, match='3 images were asked for .* has 2 with an object'):
            sample_coco(shapes, tmp_path / 'b', num_train=1, num_val=2, num_test=1)
    finally:
        ann_file.write_text(original)
    assert not (tmp_path / 'b').exists()


def test_part_without_images_is_left_out(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', num_train=1, num_val=1, num_test=0)
    assert not (tmp_path / 'a/test').exists()
    assert find_split(tmp_path / 'a', 'test') == find_split(tmp_path / 'a', 'val')


def test_wrong_input_writes_nothing(shapes, tmp_path):
    with pytest.raises(InputError, match='17 images were asked for'):
        sample_coco(shapes, tmp_path / 'a', num_train=17, num_val=1, num_test=1)
    with pytest.raises(InputError, match='is not a folder'):
        sample_coco(tmp_path / 'nowhere', tmp_path / 'a', **COUNTS)
    with pytest.raises(ValueError, match='num_val must be >= 0, but got -1'):
        sample_coco(shapes, tmp_path / 'a', num_train=1, num_val=-1, num_test=1)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', **COUNTS)
    with pytest.raises(InputError, match='exists already'):
        sample_coco(shapes, tmp_path / 'a', **COUNTS, seed=1)
    assert json.loads((tmp_path / 'a/sample.json').read_text())['seed'] == 0
