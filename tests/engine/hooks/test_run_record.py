import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HOOKS = [dict(type='RunRecordHook')]


def test_record_and_the_predictions_of_the_last_validation(train, shapes, read_rows):
    options = {'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 1}
    runner = train('demo_fnoise.py', custom_hooks=HOOKS, **options)
    work_dir = Path(runner.work_dir)
    record = json.loads((work_dir / 'run.json').read_text())
    assert record['seed'] == 0 and record['iterations_per_epoch'] == 16 and record['processes'] == 1
    assert record['config']['model']['neck']['type'] == 'FNoiseNeck'
    assert record['data']['val']['images'] == 4
    assert record['data']['val']['ann_file'] == str(shapes / 'annotations/instances_val.json')
    assert (Path(record['data']['val']['image_folder']) / '000001.png').is_file()
    assert 100 < record['memory_mib'] < 100_000
    assert record['parameters'] == sum(p.numel() for p in runner.model.parameters())
    assert {'processor', 'torch', 'Python', 'fnoise_mmdet'} <= record['environment'].keys()

    files = sorted(path.name for path in (work_dir / 'predictions').iterdir())
    assert files == ['epoch_2.bbox.json', 'epoch_2.segm.json']
    truth = COCO(record['data']['val']['ann_file'])
    logged = [row for row in read_rows(runner) if 'coco/bbox_mAP' in row][-1]
    for kind in ('bbox', 'segm'):
        evaluation = COCOeval(truth, truth.loadRes(str(work_dir / f'predictions/epoch_2.{kind}.json')), kind)
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
        assert np.round(evaluation.stats[1], 3) == pytest.approx(logged[f'coco/{kind}_mAP_50'], abs=1e-3)


def test_a_validation_alone_leaves_the_record_unchanged(train):
    """A validation alone, as `tools/test.py` does one, leaves the record of the training as it is."""
    runner = train('demo_baseline.py', custom_hooks=HOOKS)
    folder = Path(runner.work_dir) / 'predictions'
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'RunRecordHook']
    hook._is_training = False
    runner.val_loop.run()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files


def test_where_the_metric_writes_elsewhere_it_is_left_alone(train, tmp_path):
    options = {'val_evaluator.outfile_prefix': str(tmp_path / 'mine')}
    runner = train('demo_baseline.py', custom_hooks=HOOKS, **options)
    assert (tmp_path / 'mine.bbox.json').is_file()
    assert not (Path(runner.work_dir) / 'predictions').exists()
