import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hostile_images import LEFT_OUT, TOO_NARROW, WORKING

from fnoise_mmdet.datasets.images import output_stem, printable


def test_draws_images_and_folders(tool, runs, shapes, tmp_path):
    single = tmp_path / 'single.jpg'
    cv2.imwrite(str(single), cv2.imread(str(shapes / 'val/000001.png')))
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', shapes / 'test', single,
        '--out-dir', tmp_path / 'out', '--score-thr', '0.01', '--device', 'cpu',
    )  # fmt: skip
    names = ['000001.png', '000002.png', 'single.png']
    assert sorted(path.name for path in (tmp_path / 'out/vis').iterdir()) == names
    assert 'wrote 3 images' in result.stdout
    prediction = json.loads((tmp_path / 'out/preds/single.json').read_text())
    assert {'labels', 'scores', 'bboxes', 'masks'} <= set(prediction)
    assert len(prediction['scores']) == len(prediction['masks'])
    assert not np.array_equal(
        cv2.imread(str(tmp_path / 'out/vis/000001.png')), cv2.imread(str(shapes / 'test/000001.png'))
    )


def test_spread_under_noise(tool, runs, shapes, tmp_path):
    def infer(name, *options):
        tool(
            'infer', 'configs/demo_baseline.py', runs.baseline / 'epoch_2.pth', shapes / 'test', '--samples', 3,
            '--out-dir', tmp_path / name, '--score-thr', '0.01', '--device', 'cpu', *options,
        )  # fmt: skip
        return json.loads((tmp_path / name / 'preds/000002.json').read_text())

    first, again = infer('first', '--fnoise', 'cct'), infer('again', '--fnoise', 'cct')
    assert first == again
    assert len(first['spread']) == sum(score >= 0.01 for score in first['scores']) > 0
    assert any(one['detected'] for one in first['spread']) and all(one['samples'] == 3 for one in first['spread'])
    assert any(one['score_std'] for one in first['spread'])
    other = infer('other', '--fnoise', 'cct', '--seed', 1)
    assert other['scores'] == first['scores'] and other['spread'] != first['spread']
    assert (tmp_path / 'first/vis/000001.png').is_file()
    result = tool(
        'infer', 'configs/demo_baseline.py', runs.baseline / 'epoch_2.pth', shapes / 'test', '--samples', 3,
        '--out-dir', tmp_path / 'none', status=2,
    )  # fmt: skip
    assert 'insert it with --fnoise' in result.stderr and not (tmp_path / 'none').exists()
    both = [runs.baseline / 'epoch_2.pth'] * 2
    result = tool('infer', 'configs/demo_fnoise.py', *both, shapes / 'test', '--samples', 3, status=2)
    assert 'spread of one checkpoint' in result.stderr


def test_classes_are_the_checkpoint_s(tool, runs, shapes, tmp_path):
    """A config of other classes, as the COCO config is for a training on one's own data, gives the same detections."""
    two = [
        'model.roi_head.bbox_head.num_classes=2',
        'model.roi_head.mask_head.num_classes=2',
        'test_dataloader.dataset.metainfo.classes=("a","b")',
    ]
    predictions = []
    for name, options in (('same', []), ('other', ['--cfg-options', *two])):
        tool(
            'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', shapes / 'test',
            '--out-dir', tmp_path / name, '--device', 'cpu', *options,
        )  # fmt: skip
        predictions.append((tmp_path / name / 'preds/000001.json').read_text())
    assert predictions[0] == predictions[1]


def test_unreadable_image_is_named_and_the_others_drawn(tool, runs, shapes, tmp_path):
    folder = shutil.copytree(shapes / 'test', tmp_path / 'images')
    (folder / 'broken.png').write_bytes(b'not an image')
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', folder, '--out-dir', tmp_path / 'out'
    )
    assert 'broken.png: it cannot be read as an image' in result.stdout
    assert len(list((tmp_path / 'out/vis').iterdir())) == 2


@pytest.mark.parametrize('both', [False, True])
def test_hostile_images_are_drawn_or_named(tool, runs, hostile, tmp_path, both):
    checkpoints = [runs.baseline / 'epoch_2.pth', *[runs.fnoise / 'epoch_2.pth'] * both]
    result = tool(
        'infer', 'configs/demo_fnoise.py', *checkpoints, hostile, '--out-dir', tmp_path / 'out', '--batch-size', 4,
        '--device', 'cpu',
    )  # fmt: skip
    drawn = {path.stem for path in (tmp_path / 'out/vis').iterdir()}
    assert drawn == {output_stem(Path(name)) for name in WORKING}
    assert len(list((tmp_path / 'out/preds').rglob('*.json'))) == len(WORKING) * (1 + both)
    for name in {*LEFT_OUT, *TOO_NARROW}:
        assert f'skipped {printable(str(hostile / name))}: ' in result.stdout
    assert f'wrote {len(WORKING)} images' in result.stdout


def test_what_is_wrong_with_all_images_is_no_image_s_fault(tool, runs, hostile, tmp_path):
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', *(hostile / name for name in TOO_NARROW),
        '--out-dir', tmp_path / 'out', '--device', 'cpu', status=2,
    )  # fmt: skip
    assert 'none of the images could be drawn' in result.stderr and not (tmp_path / 'out').exists()


def test_inputs_are_not_replaced(tool, runs, shapes, tmp_path):
    images = shutil.copytree(shapes / 'test', tmp_path / 'images')
    work_dir = shutil.copytree(runs.baseline, tmp_path / 'run')
    command = ['infer', 'configs/demo_fnoise.py', work_dir / 'epoch_2.pth', images, '--force', '--out-dir']
    for out in (images, work_dir):
        before = sorted(out.rglob('*'))
        assert 'which this command reads, and cannot be replaced' in tool(*command, out, status=2).stderr
        assert sorted(out.rglob('*')) == before


@pytest.mark.parametrize('kind', ['missing', 'empty', 'broken', 'twice'])
def test_wrong_input(tool, runs, shapes, tmp_path, kind):
    folder = tmp_path / 'images'
    folder.mkdir()
    inputs, message = {
        'missing': ([tmp_path / 'nowhere.png'], 'is neither an image file nor a folder'),
        'empty': ([folder], 'has no image'),
        'broken': ([folder], 'none of the inputs can be read as an image'),
        'twice': ([shapes / 'val', shapes / 'test'], 'occur twice, e.g. 000001.png'),
    }[kind]
    if kind == 'broken':
        (folder / 'a.png').touch()
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', *inputs, '--out-dir', tmp_path / 'out',
        status=2,
    )  # fmt: skip
    assert message in result.stderr and not (tmp_path / 'out').exists()


def test_two_checkpoints_are_drawn_side_by_side(tool, runs, shapes, tmp_path):
    folder = shutil.copytree(shapes / 'test', tmp_path / 'images')
    (folder / 'broken.png').write_bytes(b'not an image')
    checkpoints = [run / 'epoch_2.pth' for run in (runs.baseline, runs.fnoise)]
    options = ['--out-dir', tmp_path / 'out', '--score-thr', '0.01', '--device', 'cpu']
    result = tool('infer', 'configs/demo_baseline.py', *checkpoints, folder, *options, '--batch-size', '2')
    assert 'broken.png: it cannot be read' in result.stdout and 'wrote 2 images' in result.stdout
    both = {path.name: json.loads(path.read_text()) for path in (tmp_path / 'out/preds/demo_baseline').iterdir()}
    assert len(list((tmp_path / 'out/preds/demo_fnoise').iterdir())) == len(both) == 2
    for name in ('000001.png', '000002.png'):
        panel = cv2.imread(str(tmp_path / 'out/vis' / name))
        assert panel.shape[1] == 1080 and not np.array_equal(panel[:, :540], panel[:, 540:])

    # Each model detects what it does alone. What is there is replaced on demand only.
    alone = ['infer', 'configs/demo_baseline.py', checkpoints[0], folder, *options]
    assert 'already exists' in tool(*alone, status=2).stderr
    assert len(list((tmp_path / 'out/vis').iterdir())) == 2
    tool(*alone, '--force')
    for name, prediction in both.items():
        single = json.loads((tmp_path / 'out/preds' / name).read_text())
        assert prediction['labels'] == single['labels']
        assert np.allclose(prediction['bboxes'], single['bboxes'], atol=0.01)
    assert not (tmp_path / 'out/preds/demo_baseline').exists()


@pytest.mark.parametrize('kind', ['classes', 'names', 'images', 'missing'])
def test_wrong_second_checkpoint(tool, runs, shapes, tmp_path, kind):
    first, second = runs.baseline / 'epoch_2.pth', tmp_path / 'other.pth'
    rest, message = {
        'classes': ([second, shapes / 'test'], 'trained on different classes'),
        'names': (
            [first, shapes / 'test', '--names', 'a/b', 'a_b'],
            "--names must be different and non-empty, but got 'a/b' and 'a_b'",
        ),
        'images': ([first], 'expected images or folders of images after the checkpoints'),
        'missing': ([second, shapes / 'test'], f'checkpoint {second} is not a file'),
    }[kind]
    if kind == 'classes':
        checkpoint = torch.load(first, weights_only=False)
        checkpoint['meta']['dataset_meta']['classes'] = ('cat', 'dog')
        torch.save(checkpoint, second)
    result = tool('infer', 'configs/demo_baseline.py', first, *rest, '--out-dir', tmp_path / 'out', status=2)
    assert message in result.stderr and not (tmp_path / 'out').exists()


def test_ground_truth_is_drawn_beside(tool, runs, shapes, tmp_path):
    annotations = shapes / 'annotations/instances_test.json'
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', shapes / 'test',
        '--annotations', annotations, '--out-dir', tmp_path / 'out', '--device', 'cpu',
    )  # fmt: skip
    assert 'wrote 2 images' in result.stdout
    alone, both = (cv2.imread(str(path)) for path in sorted((tmp_path / 'out/vis').iterdir())[:2])
    assert alone.shape[1] == both.shape[1] > 1000, 'two columns'
    unknown, other = tmp_path / 'unknown.png', tmp_path / 'other/000002.png'
    other.parent.mkdir()
    cv2.imwrite(str(unknown), np.zeros((64, 64, 3), np.uint8))
    cv2.imwrite(str(other), np.zeros((40, 64, 3), np.uint8))
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', shapes / 'test/000001.png', unknown, other,
        '--annotations', annotations, '--out-dir', tmp_path / 'odd', '--device', 'cpu',
    )  # fmt: skip
    assert f'skipped {unknown}: it is not annotated' in result.stdout
    assert f'skipped {other}: it has 64 x 40 pixels, but is annotated with 64 x 64' in result.stdout
    broken = tmp_path / 'broken.json'
    content = json.loads(annotations.read_text())
    content['annotations'][0]['bbox'] = None
    broken.write_text(json.dumps(content))
    result = tool(
        'infer', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', shapes / 'test', '--annotations', broken,
        '--out-dir', tmp_path / 'none', status=2,
    )  # fmt: skip
    assert 'broken.json: ' in result.stderr and not (tmp_path / 'none').exists()
