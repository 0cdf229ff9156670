import multiprocessing
import os
import shutil
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from fnoise_mmdet.config import use_data_root
from fnoise_mmdet.datasets.ground_truth import read_ground_truth
from fnoise_mmdet.engine.hooks import CorruptImageHook
from fnoise_mmdet.errors import InputError


@pytest.fixture
def shapes(shapes, tmp_path):
    """The data set with an image that is none."""
    data = shutil.copytree(shapes, tmp_path / 'data')
    (data / 'train/000003.png').write_bytes(b'\x89PNG, but no more')
    return data


def test_a_corrupt_image_is_named(train):
    with pytest.raises(
        InputError, match=r'image .*000003.png cannot be used, it cannot be read as an image: .*: replace it'
    ):
        train('demo_baseline.py', 'stop', custom_hooks=[dict(type='CorruptImageHook')])


def test_a_corrupt_image_is_skipped_and_counted(train, shapes, capsys):
    runner = train('demo_baseline.py', 'skip', custom_hooks=[dict(type='CorruptImageHook', action='skip')])
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CorruptImageHook))
    assert runner.iter == 4 and hook.skipped >= 1
    assert f'skipped {shapes}/train/000003.png' in capsys.readouterr().err


@pytest.fixture
def validation(root, shapes):
    """A validation in which one image is broken and another one a pipe, without a runner."""
    (shapes / 'val/000002.png').write_bytes((shapes / 'val/000002.png').read_bytes()[:-40])
    (shapes / 'val/000003.png').unlink()
    os.mkfifo(shapes / 'val/000003.png')
    cfg = Config.fromfile(root / 'configs/demo_baseline.py')
    use_data_root(cfg, str(shapes), required=('val',))
    init_default_scope('mmdet')
    metric = METRICS.build(cfg.val_evaluator)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric.dataset_meta = dataset.metainfo
    return SimpleNamespace(
        val_dataloader=SimpleNamespace(dataset=dataset), val_evaluator=SimpleNamespace(metrics=[metric]), hooks=[]
    )


def test_a_broken_validation_image_is_named(validation):
    CorruptImageHook().before_val(validation)
    dataset = validation.val_dataloader.dataset
    with pytest.raises(InputError, match=r'image .*000002.png cannot be used, it is not a complete image'):
        dataset[1]
    with pytest.raises(InputError, match=r'image .*000003.png cannot be used, it is not a file'):
        dataset[2]


def test_a_validation_without_its_broken_images_says_so(validation, shapes, mmlog):
    hook = CorruptImageHook('skip')
    hook.before_val(validation)
    hook.before_val(validation)  # as of a second validation
    samples = [one['data_samples'] for one in validation.val_dataloader.dataset]
    assert len(samples) == 4 and hook.skipped == 2
    (metric,) = validation.val_evaluator.metrics
    truth = read_ground_truth(shapes / 'annotations/instances_val.json')
    for sample in samples:
        objects = truth.imgToAnns[sample.img_id] if sample.img_id in (1, 4) else []
        corners = [[x, y, x + w, y + h] for x, y, w, h in (one['bbox'] for one in objects)]
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(corners).reshape(-1, 4),
            scores=torch.ones(len(objects)),
            labels=torch.tensor([one['category_id'] - 1 for one in objects]),
            masks=torch.tensor(np.array([truth.annToMask(one) for one in objects], dtype=bool)),
        )
        metric.process(None, [sample.to_dict()])
    metrics = metric.compute_metrics(metric.results)
    assert metrics['bbox_mAP'] == metrics['segm_mAP'] == 1 and metric.img_ids is None
    assert 'AP is over 2 of 4 images: 2 cannot be read' in mmlog.text


def test_an_image_is_not_skipped_where_another_metric_would_count_it(validation):
    validation.val_evaluator.metrics.append(DumpDetResults('out.pkl'))
    CorruptImageHook('skip').before_val(validation)
    with pytest.raises(InputError, match='cannot be used'):
        validation.val_dataloader.dataset[1]


def test_what_another_loader_reads_is_not_looked_at(validation):
    dataset = validation.val_dataloader.dataset
    dataset.pipeline.transforms[0].backend_args = dict(backend='lmdb')
    CorruptImageHook().before_val(validation)
    assert dataset.prepare_data.__self__ is dataset


def test_wrong_action():
    with pytest.raises(ValueError, match=r"action must be one of \('stop', 'skip'\), but got 'go'"):
        CorruptImageHook('go')


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_count_however_they_are_started(validation, method):
    context = multiprocessing.get_context(method)
    validation.val_dataloader.multiprocessing_context = context
    hook = CorruptImageHook(action='skip')
    hook.before_val(validation)
    worker = context.Process(target=attrgetter('value'), args=[validation.val_dataloader.dataset.prepare_data.skipped])
    worker.start()
    worker.join()
    assert worker.exitcode == 0
