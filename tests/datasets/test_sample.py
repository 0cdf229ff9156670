import json

import pytest

from fnoise_mmdet.datasets import check_images, find_split, fold_coco, read_coco, read_ids, sample_coco
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


def test_part_without_images_is_omitted(shapes, tmp_path):
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


def test_missing_images_are_reported(shapes, tmp_path):
    with pytest.raises(InputError, match='1 of 2 val images are not in .*instances_val.json, e.g. image 99'):
        sample_coco(shapes, tmp_path / 'a', 0, 0, 0, ids=dict(train=[1], val=[2, 99]))
    assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize(
    ('ids', 'splits', 'message'),
    [
        (dict(train=[1, 1, 2]), ('train', 'val'), 'image 1 of train is named more than once in the ids of train: name'),
        (
            dict(train=[1, 2, 3], val=[1]),
            ('train',),
            'image 1 of train is named more than once in the ids of train, val, test',
        ),
        (dict(val=[3], test=[3]), ('train', 'val'), 'image 3 of val is named more than once in the ids of val, test'),
        (dict(), ('train', 'val'), 'no image is requested'),
        (dict(train=[]), ('train', 'val'), 'no image is requested'),
        (None, ('train', 'val'), 'no image is requested'),
    ],
)
def test_images_are_in_one_split_and_there_are_some(shapes, tmp_path, ids, splits, message):
    with pytest.raises(InputError, match=message):
        sample_coco(shapes, tmp_path / 'a', 0, 0, 0, splits=splits, ids=ids)
    assert not list(tmp_path.iterdir())


def test_ids_of_different_sources_may_coincide(shapes, tmp_path):
    assert sample_coco(shapes, tmp_path / 'a', 0, 0, 0, ids=dict(train=[1], val=[1])) == (1, 1, 0)


def test_a_split_that_is_given_twice_is_the_only_source(shapes, tmp_path):
    sample_coco(shapes, tmp_path / 'a', 10, 6, 0, splits=('train', 'train'))
    assert len({*ids(tmp_path / 'a', 'train'), *ids(tmp_path / 'a', 'val')}) == 16


@pytest.mark.parametrize(
    'content',
    [
        '{',
        '[]',
        '{"ids": [1]}',
        '{"ids": {"val": [[1]]}}',
        '{"ids": {"val": [true]}}',
        '{"ids": {"train2017": [1]}}',
        pytest.param('[' * 100_000, id='deep'),
    ],
)
def test_file_of_something_else_has_no_ids(tmp_path, content):
    path = tmp_path / 'sample.json'
    path.write_text(content)
    with pytest.raises(InputError, match='is not the sample.json of a sample by'):
        read_ids(path)


@pytest.fixture
def two_splits(shapes, tmp_path):
    """A data set whose splits share neither ids nor file names, as COCO's."""
    root = tmp_path / 'two_splits'
    for part, offset in (('train', 0), ('val', 100)):
        coco = read_coco(shapes / f'annotations/instances_{part}.json')
        (root / part).mkdir(parents=True)
        for image in coco['images']:
            name = f'{part}_{image["file_name"]}'
            (root / part / name).write_bytes((shapes / part / image['file_name']).read_bytes())
            image.update(id=image['id'] + offset, file_name=name)
        for ann in coco['annotations']:
            ann['image_id'] += offset
        for category in coco['categories']:
            category['supercategory'] = 'round' if category['name'] == 'circle' else 'angular'
        (root / 'annotations').mkdir(exist_ok=True)
        (root / f'annotations/instances_{part}.json').write_text(json.dumps(coco))
    return root


def test_each_image_is_held_out_in_one_fold(two_splits, tmp_path):
    held_out, sizes = [], []
    for fold in range(3):
        out = tmp_path / f'fold_{fold}'
        assert fold_coco(two_splits, out, fold, 3) == (len(ids(out, 'train')), len(ids(out, 'val')), 0)
        saved = json.loads((out / 'sample.json').read_text())
        assert saved == dict(seed=0, fold=fold, folds=3, ids=dict(train=ids(out, 'train'), val=ids(out, 'val')))
        assert not set(ids(out, 'train')) & set(ids(out, 'val'))
        for part in ('train', 'val'):
            coco = read_coco(out / f'annotations/instances_{part}.json')
            check_images(coco, out / part)
            numbers = [ann['id'] for ann in coco['annotations']]
            assert len(set(numbers)) == len(numbers), 'annotation ids of the two splits coincide in the source'
            assert {ann['image_id'] for ann in coco['annotations']} == set(ids(out, part))
        held_out += ids(out, 'val')
        sizes.append(len(ids(out, 'val')))
    assert sorted(held_out) == [*range(1, 17), *range(101, 105)]
    assert sorted(sizes) == [6, 7, 7]
    assert any(one > 100 for one in ids(tmp_path / 'fold_0', 'train')), 'images of both splits are mixed'


def test_folds_that_cannot_be_made_write_nothing(two_splits, shapes, tmp_path):
    out = tmp_path / 'fold'
    with pytest.raises(InputError, match='train and val share 4 images by id, e.g. 1: name one of them with --split'):
        fold_coco(shapes, out, 0, 2)
    with pytest.raises(InputError, match='21 folds need as many images, but only 20 have a non-crowd object'):
        fold_coco(two_splits, out, 0, 21)
    with pytest.raises(ValueError, match='one of 0 to 4'):
        fold_coco(two_splits, out, 5, 5)
    ann_file = two_splits / 'annotations/instances_val.json'
    coco = read_coco(ann_file)
    ann_file.write_text(json.dumps(coco | dict(categories=coco['categories'][::-1])))
    with pytest.raises(InputError, match='train and val have different categories'):
        fold_coco(two_splits, out, 0, 2)
    assert not out.exists()


def test_objects_of_supercategories(two_splits, tmp_path):
    source = read_coco(two_splits / 'annotations/instances_train.json')
    names = {category['id']: category['supercategory'] for category in source['categories']}
    for out, make in (
        ('sample', lambda path: sample_coco(two_splits, path, 16, 4, 0, supercategories=True)),
        ('fold', lambda path: fold_coco(two_splits, path, 0, 2, supercategories=True)),
    ):
        make(tmp_path / out)
        coco = read_coco(tmp_path / out / 'annotations/instances_train.json')
        assert [category['id'] for category in coco['categories']] == [1, 2]
        assert {category['name'] for category in coco['categories']} == {'round', 'angular'}
        mapped = {category['id']: category['name'] for category in coco['categories']}
        expected = {(ann['image_id'], tuple(ann['bbox'])): names[ann['category_id']] for ann in source['annotations']}
        of_train = [ann for ann in coco['annotations'] if ann['image_id'] <= 100]
        assert of_train and all(
            mapped[ann['category_id']] == expected[ann['image_id'], tuple(ann['bbox'])] for ann in of_train
        )


@pytest.mark.parametrize('wrong', [None, '', ['a'], {}, 3])
def test_a_category_without_supercategory_is_named(shapes, tmp_path, wrong):
    coco = read_coco(shapes / 'annotations/instances_train.json')
    coco['categories'][1] |= dict(supercategory=wrong)
    if wrong is None:
        del coco['categories'][1]['supercategory']
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/instances_train.json').write_text(json.dumps(coco))
    (tmp_path / 'images').mkdir()
    with pytest.raises(InputError, match="category 'bar' has no supercategory"):
        sample_coco(tmp_path, tmp_path / 'a', **COUNTS, supercategories=True)
    assert not (tmp_path / 'a').exists()
