import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from pycocotools.coco import COCO

from fnoise_mmdet.datasets import check_images, find_split, make_shapes, read_coco
from fnoise_mmdet.datasets.shapes import CLASSES, MIN_VISIBLE, STYLES, draw_image
from fnoise_mmdet.errors import InputError


def pixels(folder):
    return {path.relative_to(folder): cv2.imread(str(path)) for path in sorted(folder.rglob('*.png'))}


def test_same_arguments_give_the_same_data(tmp_path, shapes):
    make_shapes(tmp_path / 'again', num_train=16, num_val=4, num_test=2, size=64)
    first, again = pixels(shapes), pixels(tmp_path / 'again')
    assert list(first) == list(again) and len(first) == 22
    assert all(np.array_equal(first[name], again[name]) for name in first)
    for part in ('train', 'val', 'test'):
        name = f'annotations/instances_{part}.json'
        assert (shapes / name).read_text() == (tmp_path / 'again' / name).read_text()


def test_seed_and_part_change_the_images(tmp_path, shapes):
    make_shapes(tmp_path / 'other', num_train=1, num_val=1, num_test=1, size=64, seed=1)
    first, other = pixels(shapes), pixels(tmp_path / 'other')
    assert not any(np.array_equal(first[name], other[name]) for name in other)
    images = {image.tobytes() for image in first.values()}
    assert len(images) == len(first)


def test_larger_set_begins_with_the_smaller(tmp_path, shapes):
    make_shapes(tmp_path / 'small', num_train=3, num_val=1, num_test=1, size=64)
    first = pixels(shapes)
    assert all(np.array_equal(image, first[name]) for name, image in pixels(tmp_path / 'small').items())


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_annotations_are_coco_s_and_fit_the_images(shapes, part):
    ann_file, folder = find_split(shapes, part)
    check_images(read_coco(shapes / ann_file), shapes / folder)
    coco = COCO(shapes / ann_file)
    assert tuple(c['name'] for c in coco.loadCats(coco.getCatIds())) == CLASSES
    assert len(CLASSES) >= 5
    for ann in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(ann)
        rows, columns = np.nonzero(mask)
        x, y, width, height = ann['bbox']
        assert ann['area'] == mask.sum()
        assert (x, y) == (columns.min(), rows.min())
        assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_masks_of_an_image_do_not_overlap(shapes):
    coco = COCO(shapes / 'annotations/instances_train.json')
    for image_id in coco.getImgIds():
        masks = [coco.annToMask(ann) for ann in coco.loadAnns(coco.getAnnIds(image_id))]
        assert masks and np.sum(masks, axis=0).max() == 1


def test_objects_differ_from_the_background_and_occlude_each_other():
    contrast, occluded, areas = [], 0, []
    for index in range(60):
        image, objects = draw_image(np.random.default_rng([0, 9, index]), 128)
        background = image[~np.any([mask for _, mask in objects], axis=0)].mean(axis=0)
        for _, mask in objects:
            contrast.append(np.abs(image[mask].mean(axis=0) - background).max())
            areas.append(mask.sum())
            # Another object's mask in the middle of the box of this one, or a mask cut off, shows overlap.
            occluded += any(
                (other & cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)).any()
                for _, other in objects
                if other is not mask
            )
    assert np.percentile(contrast, 5) > 30, 'objects are visible'
    assert occluded > 0.2 * len(areas), 'objects touch and overlap'
    assert max(areas) > 15 * min(areas), 'small to large'
    assert 0 < MIN_VISIBLE < 1


@pytest.mark.parametrize('style', list(STYLES)[1:])
def test_styles_show_the_same_objects_otherwise(style, shapes, tmp_path):
    make_shapes(tmp_path / style, num_train=1, num_val=4, num_test=1, size=64, style=style)
    for folder in (shapes, tmp_path / style):
        assert len(list((folder / 'val').iterdir())) == 4
    name = 'annotations/instances_val.json'
    assert (tmp_path / style / name).read_bytes() == (shapes / name).read_bytes()
    textured, other = (cv2.imread(str(folder / 'val/000001.png')).astype(int) for folder in (shapes, tmp_path / style))
    assert np.abs(textured - other).mean() > 3


def test_what_styles_change():
    def draw(style):
        image, objects = draw_image(np.random.default_rng(0), 128, STYLES[style])
        return image.astype(float), objects[-1][1]  # the object in front

    images = {style: draw(style) for style in STYLES}
    assert all((mask == images['textured'][1]).all() for _, mask in images.values())
    assert images['dark'][0].mean() == pytest.approx(images['textured'][0].mean() / 2, rel=0.05)
    inside = cv2.erode(images['outline'][1].astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    assert inside.any() and np.abs(images['outline'][0] - images['textured'][0])[inside].mean() > 20, 'not filled'


def test_demo_config_names_the_same_classes(root):
    assert Config.fromfile(root / 'configs/demo_baseline.py').classes == CLASSES


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'note.txt').write_text('mine')
    with pytest.raises(InputError, match='already exists'):
        make_shapes(tmp_path, num_train=1, num_val=1, num_test=1)
    assert [path.name for path in tmp_path.iterdir()] == ['note.txt']


def test_an_interrupted_set_leaves_nothing(tmp_path):
    def interrupt(items, label):
        for item in items:
            if label == 'val images':
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        make_shapes(tmp_path / 'out', num_train=2, num_val=1, num_test=1, size=64, progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('arguments', [dict(num_train=0), dict(num_val=-1), dict(size=32)])
def test_wrong_numbers_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match='must be >='):
        make_shapes(tmp_path / 'out', **{**dict(num_train=1, num_val=1, num_test=1), **arguments})
    assert not (tmp_path / 'out').exists()


def test_json_is_plain(shapes):
    content = json.loads((shapes / 'annotations/instances_val.json').read_text())
    assert {image['file_name'] for image in content['images']} == {path.name for path in (shapes / 'val').iterdir()}
