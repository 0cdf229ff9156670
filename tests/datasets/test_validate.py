import copy
import json
import random
import re

import numpy as np
import pytest
from pycocotools import mask as rle

from fnoise_mmdet.datasets import annotation_findings, is_inside, read_coco, sample_coco
from fnoise_mmdet.datasets.validate import Use, _sum_of_runs
from fnoise_mmdet.errors import InputError

MASK = np.random.default_rng(0).random((20, 30)) > 0.7


def compressed(mask):
    encoded = rle.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=encoded['size'], counts=encoded['counts'].decode())


@pytest.fixture
def coco():
    polygon = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    runs = dict(size=[20, 30], counts=[100, 300, 200])
    common = dict(area=40.0, iscrowd=0, category_id=7)
    return dict(
        images=[dict(id=n, file_name=f'{n}.jpg', width=30, height=20) for n in (1, 2)],
        annotations=[
            dict(id=1, image_id=1, bbox=[1, 1, 8, 8], segmentation=polygon, **common),
            dict(id=2, image_id=2, bbox=[0, 0, 30.5, 20], segmentation=compressed(MASK), **common),
            dict(id=3, image_id=2, bbox=[2, 3, 4, 5], segmentation=runs, **common),
        ],
        categories=[dict(id=7, name='cat'), dict(id=9, name='dog')],
    )


def test_good_annotations_have_no_finding(coco):
    assert annotation_findings(coco) == ([], [])


@pytest.mark.parametrize(
    ('where', 'value', 'finding'),
    [
        (('images', 1, 'id'), 1, '1 ids of images are used more than once, the first one: 1, 2 times'),
        (('images', 0, 'file_name'), '../1.jpg', "1 images have a file name that is invalid or outside .*'../1.jpg'"),
        (('images', 0, 'width'), 0, '1 images do not have a size above 0, the first one: image 1: 0 x 20'),
        (('annotations', 1, 'id'), 1, '1 ids of annotations are used more than once'),
        (('annotations', 0, 'image_id'), 5, '1 annotations have an unknown image, .*annotation 1: 5'),
        (('annotations', 0, 'category_id'), 8, '1 annotations have an unknown category'),
        (('annotations', 0, 'bbox'), [1, 2, 3], '1 boxes are not four finite numbers'),
        (('annotations', 0, 'bbox'), [1, 2, 3, float('nan')], '1 boxes are not four finite numbers'),
        (('annotations', 0, 'segmentation'), [[1, 2, 'a', 4, 5, 6]], '1 polygons are not lists of finite numbers'),
        (('annotations', 1, 'segmentation', 'counts'), 'abc', '1 run-length masks cannot be decoded'),
        (('annotations', 2, 'segmentation', 'counts'), [1, 2], '1 run-length masks cannot be decoded'),
        (('annotations', 1, 'segmentation', 'size'), [30, 20], '1 run-length masks differ in size from their image'),
        (('categories', 1, 'name'), 'cat', '1 names of categories are used more than once'),
        (('categories', 0, 'id'), None, '1 categories have an id that is neither a number nor a string'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(coco, where, value, finding):
    *path, last = where
    node = coco
    for key in path:
        node = node[key]
    node[last] = value
    errors, _ = annotation_findings(coco)
    assert any(re.match(finding, error) for error in errors), errors


def test_what_mmdet_gets_along_with_is_no_error(coco):
    coco['annotations'][0] |= dict(bbox=[25, 1, 8, 8], segmentation=[[1, 1, 2, 2], [1, 1, 9, 1, 9, 9]])
    errors, oddities = annotation_findings(coco)
    assert not errors and [oddity.split(',')[0] for oddity in oddities] == [
        '1 boxes extend beyond their image',
        '1 polygons do not have at least three corners of two numbers each',
    ]


TRAINING, EVALUATION = Use(metrics=()), Use(masks=False)
NO_MASK_NEEDED = Use(masks=False, metrics=('bbox',))


@pytest.mark.parametrize(
    ('mask', 'accepted_in_training'),
    [
        (None, False),
        ([], False),
        ({}, False),
        ('missing', False),
        ([[5, 5]], True),
        ([[5, 5, 40, 5]], True),
        ([[5, 5, 40, 5, 40, 40, 7]], True),
        ([[]], True),
        ([dict(size=[20, 30], counts=[600])], False),
        ([[1e9, 0, 0, 0, 0, 1e9]], False),
        ([[1e9] * 6], False),
        ([[0, 0, 30, 20] * 500_000], False),
    ],
)
def test_a_mask_is_checked_for_what_uses_it(coco, mask, accepted_in_training):
    coco['annotations'][0]['segmentation'] = mask
    if mask == 'missing':
        del coco['annotations'][0]['segmentation']
    found = {use: annotation_findings(coco, use) for use in (TRAINING, EVALUATION, NO_MASK_NEEDED)}
    assert found[NO_MASK_NEEDED] == ([], [])
    assert len(found[EVALUATION][0]) == 1 and 'the first one: annotation 1' in found[EVALUATION][0][0]
    assert [len(one) for one in found[TRAINING]] == [not accepted_in_training, accepted_in_training]


def test_a_mask_that_nothing_reads_may_be_anything(coco):
    for annotation in coco['annotations']:
        annotation['segmentation'] = None
    assert annotation_findings(coco, Use(classes=['dog'])) == ([], [])
    for annotation, change in zip(
        coco['annotations'], [dict(ignore=1), dict(bbox=[1, 1, 0.5, 8]), dict(bbox=[90, 1, 8, 8])]
    ):
        annotation.update(change)
    assert not annotation_findings(coco, TRAINING)[0], 'mmdet skips these while loading'
    assert len(annotation_findings(coco, EVALUATION)[0]) == 1, "but COCO's evaluation does not"


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (dict(area=None), '1 annotations have an area that is not a finite number, the first one: annotation 1: None'),
        (dict(area='40'), '1 annotations have an area that is not a finite number'),
        (dict(area=float('nan')), '1 annotations have an area that is not a finite number'),
        (dict(iscrowd='0'), "1 annotations have an 'iscrowd' that is neither 0 nor 1, the first one: annotation 1"),
        (dict(iscrowd=[]), "1 annotations have an 'iscrowd' that is neither 0 nor 1"),
        (dict(bbox=[0, 0, 1e9, 1e9]), '1 boxes have coordinates beyond 10000000 pixels'),
        (dict(bbox=[0, 0, 10**400, 5]), '1 boxes are not four finite numbers'),
    ],
)  # fmt: skip
def test_numbers_of_an_annotation(coco, change, expected):
    coco['annotations'][0].update(change)
    (error,) = annotation_findings(coco)[0]
    assert error.startswith(expected)


@pytest.mark.parametrize('change', [dict(iscrowd=None), dict(iscrowd=True), dict(iscrowd=1.0), dict(id=4.0)])
def test_what_is_read_right_is_accepted(coco, change):
    coco['annotations'][0].update(change)
    assert annotation_findings(coco) == ([], [])
    coco['annotations'][0].pop('iscrowd')
    assert annotation_findings(coco) == ([], [])


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        (('30', 20), 'do not have a size above 0'),
        ((True, 20), 'do not have a size above 0'),
        ((30.5, 20), 'have a size that is not an integer'),
        ((2**20, 2**20), 'have more than 2147483647 pixels'),
        ((10**400, 20), 'do not have a size above 0'),
    ],
)
def test_sizes_of_images(coco, size, expected):
    coco['images'][0].update(width=size[0], height=size[1])
    (error,) = annotation_findings(coco)[0]
    assert expected in error and 'image 1' in error
    coco['images'][0].update(width=30.0, height=20.0)
    assert annotation_findings(coco) == ([], [])


@pytest.mark.parametrize(('new', 'told'), [(0, '0'), ('5f1c', "'5f1c'")])
def test_renumbered_annotation_ids_are_reported(coco, new, told):
    coco['annotations'][0]['id'] = new
    errors, (oddity,) = annotation_findings(coco)
    assert not errors and oddity.startswith('1 ids of annotations are 0 or strings') and oddity.endswith(told)
    assert annotation_findings(coco, TRAINING) == ([], [])


@pytest.mark.parametrize(('new', 'other'), [('a', 2), (2**53 + 1, 2.0)])
def test_ids_that_the_evaluation_takes_for_others_are_errors_there(coco, new, other):
    coco['images'][0]['id'] = coco['annotations'][0]['image_id'] = new
    coco['images'][1]['id'] = other
    (error,) = annotation_findings(coco)[0]
    assert "ids of images cannot be distinguished by COCO's evaluation" in error
    assert annotation_findings(coco, TRAINING) == ([], [])


def test_a_file_without_images_is_an_error(coco):
    assert annotation_findings(dict(coco, images=[], annotations=[]))[0] == [
        'no images are in the file: there must be at least one'
    ]


def test_everything_is_found_at_once(coco):
    for annotation in coco['annotations']:
        annotation['bbox'] = None
        del annotation['area']
    coco['images'][0]['height'] = -1
    errors, _ = annotation_findings(coco)
    assert len(errors) == 3 and errors[0].startswith('1 images') and errors[1].startswith('3 annotations have no')


@pytest.mark.parametrize('name', ['a.jpg', 'train/a.jpg', 'a b.jpg', 'x/..a.jpg'])
def test_names_inside(name):
    assert is_inside(name)


@pytest.mark.parametrize(
    'name',
    ['../a.jpg', 'x/../../a.jpg', '/etc/passwd', 'C:\\a.jpg', 'x\\..\\a', '\\\\host\\a', '', 'a\0b', None, 3],
)
def test_names_that_lead_out_of_the_folder(name):
    assert not is_inside(name)


def test_sum_of_compressed_runs_is_that_of_the_mask():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 60, 2)
        mask = rng.random((height, width)) > rng.random()
        assert _sum_of_runs(compressed(mask)['counts']) == height * width
    for text in ('', 'abc', '\x00', '``', 'ooo'):
        assert _sum_of_runs(text) <= 0 or text == 'abc'


JUNK = [
    None,
    True,
    -1,
    0,
    1,
    2**63,
    10**400,
    1e308,
    float('nan'),
    float('inf'),
    '',
    'a',
    '../x',
    '/x',
    [],
    [[]],
    {},
    [1],
    {'a': 1},
]


def mutate(coco, rng):
    """Change something somewhere: drop it, repeat it, or put something else in its place."""
    coco = copy.deepcopy(coco)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        node = coco
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
                node = node[key]
                continue
            action = rng.choice(['drop', 'replace', 'replace', 'repeat'])
            if action == 'drop':
                del node[key]
            elif action == 'repeat' and isinstance(node, list):
                node.append(copy.deepcopy(node[key]))
            else:
                node[key] = copy.deepcopy(rng.choice(JUNK))
            break
    text = json.dumps(coco)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text))]
    if rng.random() < 0.05:
        text = '[' * 10**5 + text
    return text


def test_any_file_content_is_reported_or_accepted(coco, tmp_path):
    """Of 2,000 broken files each is read and checked, or refused; a sample of it appears whole or not at all."""
    rng = random.Random(0)
    source, out = tmp_path / 'source', tmp_path / 'out'
    (source / 'annotations').mkdir(parents=True)
    (source / 'train').mkdir()
    for name in ('1.jpg', '2.jpg', 'a'):
        (source / 'train' / name).write_bytes(b'image')
    outcomes = dict(refused=0, findings=0, fine=0)
    sampled = 0
    for number in range(2000):
        file = source / 'annotations/instances_train.json'
        file.write_text(mutate(coco, rng))
        try:
            errors, oddities = annotation_findings(read_coco(file))
            outcomes['findings' if errors or oddities else 'fine'] += 1
        except InputError:
            outcomes['refused'] += 1
        try:
            sample_coco(source, out / str(number), 1, 0, 0)
        except InputError:
            assert not (out / str(number)).exists()
        else:
            sampled += 1
            assert (out / str(number) / 'sample.json').is_file()
        assert not list(out.glob('.*')) if out.exists() else True
    assert min(outcomes.values()) > 50 and sampled > 50, (outcomes, sampled)
