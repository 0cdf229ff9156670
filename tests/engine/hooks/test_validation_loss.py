import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from fnoise_mmdet.config import load_config, use_data_root
from fnoise_mmdet.engine.hooks.validation_loss import loss_dataloader, own_randomness, validation_losses
from fnoise_mmdet.engine.preview import initialise

HOOK = dict(type='ValidationLossHook')


def validations(rows):
    return [row for row in rows if 'val_loss' in row]


def test_logged_beside_the_ap_and_the_total_is_the_sum(train, read_rows):
    best = {'default_hooks.checkpoint.save_best': 'val_loss'}
    runner = train('demo_fnoise.py', custom_hooks=[HOOK], **best)
    (row,) = validations(read_rows(runner))
    assert 'coco/bbox_mAP' in row and row['step'] == 1
    parts = ('val_loss_rpn_cls', 'val_loss_rpn_bbox', 'val_loss_cls', 'val_loss_bbox', 'val_loss_mask')
    assert row['val_loss'] == pytest.approx(sum(row[part] for part in parts), rel=1e-5)
    assert len(list(Path(runner.work_dir).glob('best_val_loss_epoch_1.pth'))) == 1


def test_each_validation_is_logged_by_itself(train, read_rows):
    """Without a mean over validations, as mmengine logs losses: the last is that of the last weights."""
    settings = {'train_cfg.max_epochs': 3, 'log_processor.window_size': 10}
    runner = train('demo_fnoise.py', custom_hooks=[HOOK], **settings)
    rows = validations(read_rows(runner))
    assert len({row['val_loss'] for row in rows}) == 3
    with own_randomness(seed=0):
        losses = validation_losses(runner.model, Runner.build_dataloader(loss_dataloader(runner.cfg), seed=0))
    assert {name: rows[-1][f'val_{name}'] for name in losses} == pytest.approx(losses, rel=1e-5)


def test_the_same_for_the_same_weights_with_and_without_noise(train, read_rows):
    """A strength of 0 trains the baseline's weights; the validation of either neck is without noise."""
    rows = [
        validations(read_rows(train(config, config, custom_hooks=[HOOK], **options)))[0]
        for config, options in (
            ('demo_baseline.py', {}),
            ('demo_fnoise.py', {'model.neck.noise.scale': 0.0}),
        )
    ]
    assert rows[0]['val_loss'] == rows[1]['val_loss']


def test_training_is_unaffected(train, read_rows):
    losses = []
    for name, hooks in (('with', [HOOK]), ('without', [])):
        runner = train('demo_fnoise.py', name, custom_hooks=hooks, **{'train_cfg.max_epochs': 2})
        losses.append([row['loss'] for row in read_rows(runner) if 'loss' in row])
    assert losses[0] == losses[1] and len(losses[0]) == 8


def test_against_a_plain_loop(train):
    """The mean over batches of 3 and 1 images, weighted by them, of the plain detector's loss in evaluation mode."""
    runner = train('demo_fnoise.py', custom_hooks=[])
    model = runner.model.train()  # what the function finds does not matter
    cfg = runner.cfg.copy()
    cfg.val_dataloader.batch_size = 3
    loader = Runner.build_dataloader(loss_dataloader(cfg))
    torch.manual_seed(0)
    losses = validation_losses(model, loader)
    assert model.training and model.neck.training, 'the mode is put back'

    torch.manual_seed(0)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for batch in loader:
            data = model.data_preprocessor(batch, True)
            parts = model.loss(data['inputs'], data['data_samples'])
            values = [
                sum(value) if isinstance(value, list) else value for name, value in parts.items() if 'loss' in name
            ]
            total += float(sum(values)) * len(data['data_samples'])
    assert losses['loss'] == pytest.approx(total / 4, rel=1e-5)


def test_ground_truth_has_the_size_of_the_input(shapes):
    """The images of 64 pixels are fed at 128: boxes must be scaled with them."""
    cfg = Config.fromfile('configs/demo_fnoise.py')
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    cfg.val_dataloader.update(num_workers=0, batch_size=1)
    before = cfg.val_dataloader.to_dict()
    loader = Runner.build_dataloader(loss_dataloader(cfg))
    assert cfg.val_dataloader.to_dict() == before
    annotations = json.loads((shapes / 'annotations/instances_val.json').read_text())['annotations']
    for batch in loader:
        sample = batch['data_samples'][0]
        boxes = sample.gt_instances.bboxes.tensor
        expected = [np.array(one['bbox']) * 2 for one in annotations if one['image_id'] == sample.img_id]
        expected = np.array([[x, y, x + w, y + h] for x, y, w, h in expected])
        np.testing.assert_allclose(boxes.numpy(), expected, atol=1e-3)
        assert sample.gt_instances.masks.masks.shape[1:] == (128, 128)


def test_global_randomness_is_left_as_it_was(train):
    runner = train('demo_fnoise.py', custom_hooks=[HOOK])
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'ValidationLossHook']
    states = []
    for run in (True, False):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        metrics = {}
        if run:
            hook.after_val_epoch(runner, metrics)
            assert metrics['val_loss'] > 0
        states.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert states[0] == states[1]


def test_warns_if_loss_is_unavailable(train):
    """Without LoadAnnotations there is nothing to compute a loss from."""
    runner = train('demo_baseline.py', custom_hooks=[HOOK])
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'ValidationLossHook']
    hook._dataloader = None
    runner.cfg.train_dataloader.dataset.pipeline.pop(1)
    metrics, warnings = {}, []
    runner.logger.warning = warnings.append
    hook.after_val_epoch(runner, metrics)
    hook.after_val_epoch(runner, metrics)
    assert metrics == {} and len(warnings) == 1 and 'the training pipeline has no LoadAnnotations' in warnings[0]
    assert 'remove ValidationLossHook from custom_hooks' in warnings[0]


@pytest.mark.parametrize(
    'config',
    [
        'retinanet/retinanet_r18_fpn_1x_coco.py',
        'yolox/yolox_tiny_8xb8-300e_coco.py',
        'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py',
        'detr/detr_r50_8xb2-150e_coco.py',
        'dino/dino-4scale_r50_8xb2-12e_coco.py',
        'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py',
    ],
)
def test_detectors_of_other_kinds(config, shapes):
    cfg = load_config(f'mmdet::{config}')
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    cfg.val_dataloader.update(num_workers=0, batch_size=2)
    for step in cfg.val_dataloader.dataset.pipeline:
        if 'scale' in step:
            step.scale = (128, 128)
        if 'size' in step:
            step['size'] = (128, 128)
    cfg.model.backbone.init_cfg = None
    if 'num_queries' in cfg.model:
        cfg.model.num_queries = 50
    model = MODELS.build(cfg.model)
    initialise(model)
    losses = validation_losses(model, Runner.build_dataloader(loss_dataloader(cfg)))
    assert np.isfinite(losses['loss']) and losses['loss'] > 0 and len(losses) > 1


def test_of_a_semi_supervised_training_it_is_that_of_the_student(shapes):
    cfg = load_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    cfg.val_dataloader.update(num_workers=0, batch_size=4)
    cfg.val_dataloader.dataset.pipeline[1].scale = (128, 128)
    cfg.model.backbone.init_cfg = None
    settings = dict(type='SoftTeacher', semi_train_cfg=dict(), semi_test_cfg=dict(predict_on='teacher'))
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=cfg.model.data_preprocessor)
    model = MODELS.build(dict(settings, detector=cfg.model, data_preprocessor=preprocessor))
    initialise(model)
    loader = Runner.build_dataloader(loss_dataloader(cfg))
    losses = validation_losses(model, loader)
    assert losses == validation_losses(model.student, loader) and losses['loss'] > 0
