"""Labels: mmdet's own data set is the reference."""

import json
import re

import pytest
from mmdet.datasets import CocoDataset

from fnoise_mmdet.datasets.labels import kept_images, label_fault

CLASSES = ('a', 'b', 'c')


def coco_of(*names, first_id=1):
    return dict(
        images=[], annotations=[], categories=[dict(id=first_id + i, name=name) for i, name in enumerate(names)]
    )


@pytest.mark.parametrize('names', ['abc', 'abcd', 'dabc', 'axbyc'])
@pytest.mark.parametrize('first_id', [0, 1, 90])
def test_classes_in_their_order_are_accepted_in_any_file(names, first_id):
    assert label_fault(coco_of(*names, first_id=first_id), CLASSES, complete=True) is None


@pytest.mark.parametrize(
    ('names', 'reason'),
    [
        ('cba', "another order, .*: label 0 is 'c' in the file and 'a' in the config.* of the file is c, b, a"),
        ('acb', "label 1 is 'c' in the file and 'b' in the config"),
        ('ac', "has no category 'b', .* the labels of those after it would be wrong"),
        ('xyz', "has none of the config's classes"),
    ],
)
@pytest.mark.parametrize('complete', [True, False])
def test_labels_of_other_classes_are_reported(names, reason, complete, tmp_path):
    coco = coco_of(*names)
    assert re.search(reason, label_fault(coco, CLASSES, complete))
    (tmp_path / 'a.json').write_text(json.dumps(coco))
    dataset = CocoDataset(
        ann_file=str(tmp_path / 'a.json'), metainfo=dict(classes=CLASSES), pipeline=[], lazy_init=True
    )
    dataset.load_data_list()
    labels = {name: dataset.cat2label[i] for i, name in enumerate(names, start=1) if i in dataset.cat2label}
    assert any(CLASSES[label] != name for name, label in labels.items()) or not labels


def test_classes_at_the_end_may_be_missing_where_no_metric_reads_the_file():
    assert label_fault(coco_of('a', 'b'), CLASSES, complete=False) is None
    assert "no category 'c'" in label_fault(coco_of('a', 'b'), CLASSES, complete=True)


@pytest.mark.parametrize(
    ('filters', 'counts'),
    [
        ({}, (3, 0, 0)),
        (dict(min_size=32), (2, 1, 0)),
        (dict(filter_empty_gt=True), (2, 0, 1)),
        (dict(filter_empty_gt=True, min_size=100), (0, 2, 1)),
    ],
)
def test_images_are_counted_as_mmdet_keeps_them(filters, counts, tmp_path):
    coco = coco_of('a', 'b')
    sizes = [(64, 28), (64, 64), (64, 64)]
    coco['images'] = [dict(id=i, file_name=f'{i}.png', width=w, height=h) for i, (w, h) in enumerate(sizes)]
    box = dict(iscrowd=0, area=4, bbox=[0, 0, 2, 2], segmentation=[])
    coco['annotations'] = [
        dict(box, id=i + 1, image_id=i, category_id=category) for i, category in enumerate([1, 1, 2])
    ]
    kept, *dropped = kept_images(coco, ('a',), filters)
    assert (len(kept), *dropped) == counts
    (tmp_path / 'a.json').write_text(json.dumps(coco))
    settings = dict(
        metainfo=dict(classes=('a',)),
        data_prefix=dict(img=''),
        filter_cfg=filters,
        serialize_data=False,
        pipeline=[],
        lazy_init=True,
    )
    dataset = CocoDataset(ann_file=str(tmp_path / 'a.json'), **settings)
    dataset.data_list = dataset.load_data_list()
    assert len(dataset.filter_data()) == counts[0]
