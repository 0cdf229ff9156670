import random
import sys

import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from torch.utils.data import DataLoader

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.evaluation.corruption import (
    CORRUPTIONS,
    SeededCorrupt,
    check_corruptions,
    check_size,
    corrupt,
    corruption_names,
    from_package,
)

EVERY = [name for names in CORRUPTIONS.values() for name in names]
RANDOM = {
    *CORRUPTIONS['noise'], 'glass_blur', 'motion_blur', 'snow', 'frost', 'fog', 'elastic_transform',
}  # fmt: skip


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """A smooth image in colour, RGB."""
    rows, columns = np.mgrid[:48, :64]
    return np.stack([columns * 4, rows * 5, 250 - columns * 3], axis=-1).astype(np.uint8)


def transform(image, image_id=1, **settings):
    results = dict(img=image, img_id=image_id, img_path='photo.png')
    return TRANSFORMS.build(dict(type='SeededCorrupt', **settings))(results)['img']


def test_the_names_are_those_of_the_package():
    from imagecorruptions import get_corruption_names

    for group, functions in CORRUPTIONS.items():
        assert [name for name in functions if functions[name] is from_package] == get_corruption_names(group)


def test_own_corruption(image, monkeypatch):
    """One entry makes it known by name and group, and it needs no package."""

    def dots(image, name, severity, seeds):
        return np.where(np.random.default_rng(seeds).random(image.shape) < severity / 10, 0, image).astype(np.uint8)

    monkeypatch.setitem(CORRUPTIONS['noise'], 'dots', dots)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    assert corruption_names(['noise'])[-1] == 'dots'
    check_corruptions(['dots'])
    once, again, other = (transform(image, i, corruption='dots', severity=5) for i in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)
    assert 0.4 < np.mean(once == 0) < 0.6


def test_every_corruption_runs_here():
    check_corruptions(EVERY)


@pytest.mark.parametrize('name', EVERY)
def test_is_a_function_of_seed_image_and_severity_alone(image, name):
    once = corrupt(image, name, 3, seed=0, image_id=1)
    np.random.seed(123)
    random.seed(123)
    before, plain = np.random.get_state(), random.getstate()
    corrupt(image, name, 2, seed=5, image_id=9)
    again = corrupt(image, name, 3, seed=0, image_id=1)
    assert np.array_equal(once, again)
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state())) and plain == random.getstate()
    assert once.shape == image.shape and once.dtype == np.uint8 and not np.array_equal(once, image)
    for other in (dict(seed=1, image_id=1), dict(seed=0, image_id=2), dict(seed=0, image_id='1.png')):
        assert np.array_equal(once, corrupt(image, name, 3, **other)) is (name not in RANDOM)


@pytest.mark.parametrize('name', EVERY)
def test_severity_five_is_further_from_the_image_than_one(image, name):
    noisy = np.random.default_rng(0).integers(0, 60, image.shape, dtype=np.uint8) + image // 2
    low, high = (
        np.mean([np.abs(corrupt(noisy, name, severity, 0, i).astype(float) - noisy) for i in range(6)])
        for severity in (1, 5)
    )
    assert high > low


def test_the_image_s_colours_are_in_the_order_that_the_corruptions_take(image):
    for name in ('frost', 'snow', 'jpeg_compression'):
        expected = corrupt(image, name, 4, seed=7, image_id=1)
        assert np.array_equal(transform(image[..., ::-1], corruption=name, severity=4, seed=7)[..., ::-1], expected)
        assert not np.array_equal(corrupt(image[..., ::-1], name, 4, 7, 1)[..., ::-1], expected), name
    frost = np.mean([transform(np.zeros((64, 64, 3), np.uint8), i, corruption='frost') for i in range(8)], (0, 1, 2))
    assert frost[0] > frost[2], 'frost is blue, and mmcv puts blue first'


def test_workers_give_the_same_images(image):
    data = [dict(img=image, img_id=i, img_path='') for i in range(4)]
    step = SeededCorrupt('gaussian_noise', 3)
    expected = [step(dict(sample))['img'] for sample in data]
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=lambda batch: [step(dict(s)) for s in batch])
    found = [sample['img'] for batch in loader for sample in batch]
    assert all(np.array_equal(a, b) for a, b in zip(expected, found))
    assert not np.array_equal(expected[0], expected[1])


def test_off_gives_the_very_image_and_floats_stay_floats(image):
    assert transform(image) is image
    floats = transform(image.astype(np.float32), corruption='fog')
    assert floats.dtype == np.float32 and np.array_equal(floats, transform(image, corruption='fog'))


def test_torch_s_random_state_is_left_alone(image):
    before = torch.get_rng_state()
    transform(image, corruption='gaussian_noise')
    assert torch.equal(before, torch.get_rng_state())


def test_prints_nothing(capsys):
    small = np.full((33, 32, 3), 100, np.uint8)
    for name in ('snow', 'zoom_blur'):
        for severity in range(1, 6):
            corrupt(small, name, severity, 0, 0)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    ('shape', 'message'),
    [((31, 64, 3), 'image photo.png of 64 x 31 pixels'), ((64, 64), 'photo.png.*must have 3 channels')],
)
def test_image_that_cannot_be_corrupted(shape, message):
    with pytest.raises(InputError, match=message):
        transform(np.zeros(shape, np.uint8), corruption='fog')


def test_smallest_size():
    check_size('a.png', 32, 32)


@pytest.mark.parametrize(
    ('words', 'names'),
    [
        (['weather'], list(CORRUPTIONS['weather'])),
        (['fog', 'gaussian_noise', 'fog'], ['gaussian_noise', 'fog']),
        (['blur', 'glass_blur', 'noise'], [*CORRUPTIONS['noise'], *CORRUPTIONS['blur']]),
        (list(CORRUPTIONS), EVERY),
        (['none'], []),
    ],
)
def test_names_and_groups(words, names):
    assert corruption_names(words) == names


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['gausian_noise'], 'did you mean gaussian_noise'),
        (['Digital'], 'did you mean digital'),
        (['fog', 'none'], 'cannot be combined'),
    ],
)
def test_unknown_names(words, message):
    with pytest.raises(InputError, match=message):
        corruption_names(words)


def test_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    check_corruptions([])
    with pytest.raises(InputError, match='pip install imagecorruptions-imaug'):
        check_corruptions(['fog'])


def test_broken_and_unrepeatable_corruptions_are_named(monkeypatch):
    from imagecorruptions import corruption_dict

    def unseeded(image, severity):
        return np.random.default_rng().integers(0, 255, np.array(image).shape)

    def broken(image, severity):
        raise TypeError("gaussian() got an unexpected keyword argument 'multichannel'")

    monkeypatch.setitem(corruption_dict, 'glass_blur', unseeded)
    with pytest.raises(InputError, match='glass_blur of the installed imagecorruptions takes no seed'):
        check_corruptions(['fog', 'glass_blur'])
    monkeypatch.setitem(corruption_dict, 'glass_blur', broken)
    with pytest.raises(InputError, match='glass_blur fails with the installed versions .TypeError: gaussian'):
        check_corruptions(['glass_blur'])
