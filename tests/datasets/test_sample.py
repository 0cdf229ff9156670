import json

import pytest

from fnoise_mmdet.datasets import check_images, find_split, read_coco, read_ids, sample_coco
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
        with pytest.raises(InputError, match='3 images were requested .* has 2 with a non-crowd object'):
            sample_coco(shapes, tmp_path / 'b', num_train=1, num_val=2, num_test=1)
    finally:
        ann_file.write_text(original)
    assert not (tmp_path / 'b').exists()


def test_part_without_images_is_left_out(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', num_train=1, num_val=1, num_test=0)
    assert not (tmp_path / 'a/test').exists()
    assert find_split(tmp_path / 'a', 'test') == find_split(tmp_path / 'a', 'val')


def test_wrong_input_writes_nothing(shapes, tmp_path):
    with pytest.raises(InputError, match='17 images were requested'):
        sample_coco(shapes, tmp_path / 'a', num_train=17, num_val=1, num_test=1)
    with pytest.raises(InputError, match='is not a folder'):
        sample_coco(tmp_path / 'nowhere', tmp_path / 'a', **COUNTS)
    with pytest.raises(ValueError, match='num_val must be >= 0, but got -1'):
        sample_coco(shapes, tmp_path / 'a', num_train=1, num_val=-1, num_test=1)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', **COUNTS)
    with pytest.raises(InputError, match='already exists'):
        sample_coco(shapes, tmp_path / 'a', **COUNTS, seed=1)
    assert json.loads((tmp_path / 'a/sample.json').read_text())['seed'] == 0


def test_images_of_another_sample(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', **COUNTS, seed=3)
    chosen = read_ids(tmp_path / 'a/sample.json')
    counts = sample_coco(shapes, tmp_path / 'b', 0, 0, 0, seed=3, ids=chosen)
    assert counts == (5, 2, 1)
    saved = json.loads((tmp_path / 'b/sample.json').read_text())
    assert saved == dict(seed=None, ids=chosen), 'nothing was drawn'
    (tmp_path / 'b/sample.json').write_bytes((tmp_path / 'a/sample.json').read_bytes())
    files = sorted(path.relative_to(tmp_path / 'a') for path in (tmp_path / 'a').rglob('*') if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / 'b') for path in (tmp_path / 'b').rglob('*') if path.is_file())
    assert all((tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes() for file in files)


def test_images_that_are_not_there_are_named(shapes, tmp_path):
    with pytest.raises(InputError, match='1 of 2 val images are not in .*instances_val.json, e.g. image 99'):
        sample_coco(shapes, tmp_path / 'a', 0, 0, 0, ids=dict(train=[1], val=[2, 99]))
    assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize(
    'content', ['{', '[]', '{"ids": [1]}', '{"ids": {"val": [[1]]}}', '{"ids": {"train2017": [1]}}']
)
def test_file_of_something_else_has_no_ids(tmp_path, content):
    path = tmp_path / 'sample.json'
    path.write_text(content)
    with pytest.raises(InputError, match='is not the sample.json of a sample by'):
        read_ids(path)
