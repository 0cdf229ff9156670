import json


def test_make_shapes(tool, tmp_path):
    counts = ['--num-train', 2, '--num-val', 1, '--num-test', 1, '--size', 64]
    result = tool('make_shapes', '--out', tmp_path / 'shapes', *counts)
    assert 'wrote 2 train, 1 val and 1 test images' in result.stdout
    assert len(list((tmp_path / 'shapes').rglob('*.png'))) == 4
    assert 'exists already' in tool('make_shapes', '--out', tmp_path / 'shapes', *counts, status=2).stderr
    assert 'must be >= 1, but got 0' in tool('make_shapes', '--num-train', 0, status=2).stderr


def test_coco_sample(tool, shapes, tmp_path):
    counts = ['--num-train', 3, '--num-val', 2, '--num-test', 1, '--seed', 4]
    result = tool('coco_sample', '--from', shapes, '--out', tmp_path / 'sample', *counts)
    assert 'wrote 3 train, 2 val and 1 test images' in result.stdout
    saved = json.loads((tmp_path / 'sample/sample.json').read_text())
    assert saved['seed'] == 4 and [len(saved['ids'][part]) for part in ('train', 'val', 'test')] == [3, 2, 1]
    missing = tool('coco_sample', '--from', tmp_path / 'nowhere', '--out', tmp_path / 'other', status=2)
    assert 'nowhere is not a folder' in missing.stderr and not (tmp_path / 'other').exists()
