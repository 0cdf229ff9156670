import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from mmengine.runner import Runner

from fnoise_mmdet.engine.hooks import TrainingAPHook
from fnoise_mmdet.engine.hooks.training_ap import training_evaluators, training_images

KEYS = ('bbox_mAP', 'segm_mAP', 'segm_mAP_50')
LEARNS = {'train_cfg.max_epochs': 2, 'optim_wrapper.optimizer.lr': 0.01, 'model.test_cfg.rcnn.score_thr': 0.0}


def validations(rows):
    return [row for row in rows if 'coco/bbox_mAP' in row]


@pytest.mark.parametrize('images', [None, 12])
def test_is_the_ap_of_a_test_on_the_training_images(train, read_rows, tmp_path, images):
    """mmengine's own evaluation of the training images gives the same."""
    runner = train('demo_fnoise.py', custom_hooks=[dict(type='TrainingAPHook', images=images)], **LEARNS)
    first, last = validations(read_rows(runner))
    assert not any(key.startswith('train_') for key in first), 'after the last validation alone'
    loader, evaluators = training_images(runner.cfg, images), training_evaluators(runner.cfg)
    if images:  # as a file that has no others
        (evaluator,) = evaluators
        coco = json.loads(Path(evaluator['ann_file']).read_text())
        coco['images'] = coco['images'][:images]
        ids = {image['id'] for image in coco['images']}
        coco['annotations'] = [one for one in coco['annotations'] if one['image_id'] in ids]
        evaluator['ann_file'] = str(tmp_path / 'few.json')
        Path(evaluator['ann_file']).write_text(json.dumps(coco))
    tested = Runner.build_test_loop(runner, dict(type='TestLoop', dataloader=loader, evaluator=evaluators)).run()
    for key in KEYS:
        assert last[f'train_{key}'] == pytest.approx(tested[f'coco/{key}'], abs=1e-9)
    assert last['train_bbox_mAP'] > 0 and last['train_bbox_mAP'] != last['coco/bbox_mAP']


def test_the_training_is_not_affected(train, read_rows):
    hook = dict(type='TrainingAPHook', every=True)
    of_both = []
    for name, hooks in (('without', []), ('with', [hook])):
        rows = read_rows(train('demo_fnoise.py', name, custom_hooks=hooks, **LEARNS))
        of_both.append([{key: row[key] for key in row if 'loss' in key or 'coco' in key} for row in rows])
        assert sum('train_bbox_mAP' in row for row in rows) == 2 * bool(hooks)
    assert of_both[0] == of_both[1]


def test_files_of_the_validation_are_not_overwritten(train, tmp_path):
    options = {'val_evaluator.outfile_prefix': str(tmp_path / 'mine')}
    train('demo_fnoise.py', custom_hooks=[dict(type='TrainingAPHook', every=True)], **LEARNS, **options)
    found = json.loads((tmp_path / 'mine.bbox.json').read_text())
    assert {one['image_id'] for one in found} == {1, 2, 3, 4}, 'of the 4 validation images, not of 16 training images'


def test_what_cannot_be_evaluated_is_a_warning(train, monkeypatch):
    option = {'train_dataloader.dataset.ann_file': 'annotations/instances_train.json'}
    runner = train('demo_baseline.py', custom_hooks=[], **option)
    hook, metrics = TrainingAPHook(every=True), {}
    runner.cfg.train_dataloader.dataset.ann_file = 'nowhere.json'
    warn = Mock()
    monkeypatch.setattr(runner.logger, 'warning', warn)
    hook.after_val_epoch(runner, metrics)
    assert metrics == {} and warn.call_count == 1
    assert 'no AP on training images: FileNotFoundError: ' in warn.call_args.args[0]


def test_wrong_setting():
    with pytest.raises(ValueError, match='images must be >= 1, but got 0'):
        TrainingAPHook(images=0)
