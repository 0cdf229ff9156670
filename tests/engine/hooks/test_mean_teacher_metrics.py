import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmdet.models import SemiBaseDetector
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from fnoise_mmdet.datasets.ground_truth import read_ground_truth
from fnoise_mmdet.engine.hooks import MeanTeacherMetricsHook
from fnoise_mmdet.engine.hooks.mean_teacher_metrics import pseudo_label_quality
from fnoise_mmdet.errors import InputError

BOX = [10.0, 10.0, 30.0, 30.0]
OTHER = [50.0, 50.0, 90.0, 90.0]


class Images(Dataset):
    def __init__(self, number):
        self.metainfo = dict(classes=('cat', 'dog'))
        self.number = number

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        return index + 1


class Detector:
    """Return given boxes, labels and scores for each image."""

    def __init__(self, detections):
        self.detections = detections

    def val_step(self, batch):
        samples = []
        for image_id in batch.tolist():
            boxes, labels, scores = zip(*self.detections[image_id]) if self.detections[image_id] else ([], [], [])
            instances = InstanceData(
                bboxes=torch.tensor(np.array(boxes).reshape(-1, 4)),
                labels=torch.tensor(labels, dtype=torch.long),
                scores=torch.tensor(scores),
            )
            samples.append(DetDataSample(pred_instances=instances, metainfo=dict(img_id=image_id)))
        return samples


def truth(tmp_path, *annotations):
    """Annotations given by image, category, x1, y1, x2, y2, and whether it is a crowd."""
    coco = dict(
        images=[dict(id=index, file_name=f'{index}.jpg', width=100, height=100) for index in (1, 2)],
        categories=[dict(id=7, name='cat'), dict(id=8, name='dog'), dict(id=9, name='bird')],
        annotations=[
            dict(
                id=number, image_id=image, category_id=category, iscrowd=int(crowd),
                bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]], area=(box[2] - box[0]) * (box[3] - box[1]),
            )
            for number, (image, category, box, crowd) in enumerate(annotations)
        ],
    )  # fmt: skip
    (tmp_path / 'truth.json').write_text(json.dumps(coco))
    return read_ground_truth(tmp_path / 'truth.json')


def quality(truth, *detections, threshold=0.7):
    model = Detector(dict(enumerate(detections, start=1)))
    return pseudo_label_quality(model, DataLoader(Images(len(detections)), batch_size=2), truth, threshold)


def test_precision_and_recall(tmp_path):
    hidden = truth(
        tmp_path, (1, 7, BOX, False), (1, 8, OTHER, False), (2, 8, BOX, False), (2, 9, OTHER, False)
    )  # the bird is no class of the detector
    found = quality(
        hidden,
        [(BOX, 0, 0.9), (BOX, 0, 0.8), (OTHER, 0, 0.9), (OTHER, 1, 0.6)],  # a hit, a duplicate, wrong class, too weak
        [([10.0, 10.0, 30.0, 29.0], 1, 0.71)],
    )
    assert found == dict(pseudo_precision=pytest.approx(2 / 4), pseudo_recall=pytest.approx(2 / 3))


def test_labels_of_crowds_do_not_count(tmp_path):
    hidden = truth(tmp_path, (1, 7, BOX, False), (1, 8, OTHER, True))
    assert quality(hidden, [(BOX, 0, 0.9), (OTHER, 1, 0.9)], []) == dict(pseudo_precision=1.0, pseudo_recall=1.0)


def test_undefined_metrics_are_omitted(tmp_path):
    assert quality(truth(tmp_path, (1, 7, BOX, False)), []) == dict(pseudo_recall=0.0)
    assert quality(truth(tmp_path, (1, 9, BOX, False)), [(BOX, 0, 0.9)]) == dict(pseudo_precision=0.0)


@pytest.mark.parametrize(('counts', 'warned'), [([0.0, 0.0], True), ([0.0, 0.5], False), ([], False)])
def test_missing_pseudo_labels_are_reported_with_a_remedy(monkeypatch, counts, warned):
    module = 'fnoise_mmdet.engine.hooks.mean_teacher_metrics'
    monkeypatch.setattr(f'{module}.evaluators', lambda cfg, name: [])
    monkeypatch.setattr(f'{module}.evaluate_again', lambda *arguments: dict(bbox_mAP=0.5))
    model = Mock(semi_train_cfg=ConfigDict(cls_pseudo_thr=0.9), semi_test_cfg={})
    runner = Mock(model=model)
    hook, metrics = MeanTeacherMetricsHook(), {}
    for count in counts:
        hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(1.0), pseudo_labels=torch.tensor(count)))
    hook.after_val_epoch(runner, metrics)
    assert metrics == dict(student_bbox_mAP=0.5)
    assert runner.logger.warning.called == warned
    if warned:
        message = runner.logger.warning.call_args.args[0]
        assert 'in the last 2 iterations' in message and 'score above 0.9' in message and 'load_from=FILE' in message
    hook.after_val_epoch(runner, metrics)
    assert runner.logger.warning.call_count == warned, 'only what was trained since the last validation counts'


class Semi(SemiBaseDetector):
    def __init__(self, **settings):
        torch.nn.Module.__init__(self)
        self.semi_train_cfg = ConfigDict(settings)


@pytest.mark.parametrize('model', [torch.nn.Module(), Semi(sup_weight=1)])
def test_other_models_are_refused_before_the_training(model):
    with pytest.raises(
        InputError, match=f'with cls_pseudo_thr in its semi_train_cfg, but the model is {type(model).__name__}'
    ):
        MeanTeacherMetricsHook().before_train(Mock(model=model))


@pytest.mark.parametrize('validation', [None, dict(type='ConcatDataset', datasets=[dict(type='CocoDataset')] * 2)])
def test_other_validations_do_not_stop_the_training(shapes, validation):
    source = dict(type='CocoDataset', ann_file=str(shapes / 'annotations/instances_train.json'))
    cfg = Config(dict(train_dataloader=dict(dataset=source), val_dataloader=dict(dataset=validation)))
    runner = Mock(model=Semi(cls_pseudo_thr=0.9), cfg=cfg, val_loop=Mock() if validation else None)
    hook = MeanTeacherMetricsHook()
    hook.before_train(runner)
    assert hook._hidden is None
    warnings = [call.args[0] for call in runner.logger.warning.call_args_list]
    assert [('the validation has 2 data sets' in text) for text in warnings] == ([True] if validation else [])


def test_a_failed_evaluation_is_a_warning(monkeypatch):
    monkeypatch.setattr('fnoise_mmdet.engine.hooks.mean_teacher_metrics.evaluators', lambda cfg, name: [])
    monkeypatch.setattr(
        'fnoise_mmdet.engine.hooks.mean_teacher_metrics.evaluate_again', Mock(side_effect=OSError('full'))
    )
    runner = Mock(model=Mock(semi_train_cfg=ConfigDict(cls_pseudo_thr=0.9), semi_test_cfg={}))
    metrics = {}
    MeanTeacherMetricsHook().after_val_epoch(runner, metrics)
    assert metrics == {} and 'OSError: full' in runner.logger.warning.call_args.args[0]


def test_wrong_setting():
    with pytest.raises(ValueError, match='images must be >= 1, but got 0'):
        MeanTeacherMetricsHook(images=0)
