import json
import pickle
import shutil
from pathlib import Path

import cv2
import pytest

NO_WORKERS = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


def test_evaluates_and_draws(tool, runs, shapes, tmp_path):
    tool(
        'test', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', '--data-root', shapes, '--work-dir',
        tmp_path / 'run', '--show-dir', tmp_path / 'drawn', '--out', tmp_path / 'predictions.pkl',
        '--cfg-options', *NO_WORKERS,
    )  # fmt: skip
    (metrics,) = (tmp_path / 'run').glob('*/*.json')
    assert 'coco/segm_mAP' in json.loads(metrics.read_text())
    assert sorted(path.name for path in (tmp_path / 'drawn').iterdir()) == ['000001.png', '000002.png']
    drawn = cv2.imread(str(tmp_path / 'drawn/000001.png'))
    assert drawn.shape[1] == 2 * drawn.shape[0], 'ground truth next to detections'
    panels = list((tmp_path / 'run').glob('*/vis_data/vis_image/feature_maps_test_*.png'))
    assert len(panels) == 2
    with (tmp_path / 'predictions.pkl').open('rb') as file:
        assert len(pickle.load(file)) == 2


def test_checkpoint_of_an_fnoise_run_scores_the_same_in_the_plain_config(tool, runs, shapes, tmp_path):
    scores = []
    for config in ('demo_fnoise', 'demo_baseline'):
        tool(
            'test', f'configs/{config}.py', runs.fnoise / 'epoch_2.pth', '--data-root', shapes,
            '--work-dir', tmp_path / config, '--cfg-options', *NO_WORKERS, 'model.test_cfg.rcnn.score_thr=0.01',
        )  # fmt: skip
        (metrics,) = (tmp_path / config).glob('*/*.json')
        scores.append({k: v for k, v in json.loads(metrics.read_text()).items() if k.startswith('coco/')})
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_test_set_without_annotations_gives_a_file_of_results(tool, runs, shapes, tmp_path):
    """As COCO's test-dev, whose results are submitted."""
    data = shutil.copytree(shapes, tmp_path / 'data')
    path = data / 'annotations/instances_test.json'
    content = json.loads(path.read_text())
    del content['annotations']
    path.write_text(json.dumps(content))
    prefix = tmp_path / 'sent/results'
    result = tool(
        'test', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', '--data-root', data, '--work-dir',
        tmp_path / 'run', '--cfg-options', *NO_WORKERS, 'test_evaluator.format_only=True',
        f'test_evaluator.outfile_prefix={prefix}',
    )  # fmt: skip
    for kind in ('bbox', 'segm'):
        assert f'wrote the detections to {prefix}.{kind}.json' in result.stdout
        assert isinstance(json.loads(Path(f'{prefix}.{kind}.json').read_text()), list)


@pytest.mark.parametrize(
    ('config', 'checkpoint', 'message'),
    [
        ('demo_fnoise', 'nowhere.pth', 'checkpoint nowhere.pth is not a file'),
        ('nowhere', 'nowhere.pth', 'config configs/nowhere.py is not a file'),
    ],
)
def test_wrong_input(tool, shapes, tmp_path, config, checkpoint, message):
    result = tool(
        'test', f'configs/{config}.py', checkpoint, '--data-root', shapes, '--work-dir', tmp_path / 'run', status=2
    )
    assert message in result.stderr and not list(tmp_path.iterdir())


def test_checkpoint_of_other_classes(tool, runs, shapes, tmp_path):
    result = tool(
        'test', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', '--data-root', shapes,
        '--work-dir', tmp_path / 'run',
        '--cfg-options', 'test_dataloader.dataset.metainfo.classes=("circle","ring")', status=2,
    )  # fmt: skip
    assert 'was trained on 5 classes' in result.stderr and not list(tmp_path.iterdir())


def test_the_config_of_the_training_is_left_as_it_is(tool, runs, root, shapes, tmp_path):
    work_dir = shutil.copytree(runs.fnoise, tmp_path / 'work_dirs/demo_fnoise')
    before = (work_dir / 'demo_fnoise.py').read_text()
    tool(
        'test', root / 'configs/demo_fnoise.py', work_dir / 'epoch_2.pth', '--data-root', shapes,
        '--cfg-options', *NO_WORKERS, cwd=tmp_path,
    )  # fmt: skip
    assert (work_dir / 'demo_fnoise.py').read_text() == before != (work_dir / 'test/demo_fnoise.py').read_text()
