import json

import cv2
import pytest


def test_compares_two_work_dirs(tool, runs, tmp_path):
    result = tool('compare', runs.baseline, runs.fnoise, '--out', tmp_path / 'out')
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert (content['a'], content['b'], content['mismatches']) == ('demo_baseline', 'demo_fnoise', [])
    rows = {row['figure']: row for row in content['rows']}
    total = rows['loss, mean of the last epoch']
    assert total['difference'] == pytest.approx(total['b'] - total['a'])
    assert rows['coco/segm_mAP']['b'] == 0
    markdown = (tmp_path / 'out/comparison.md').read_text()
    for figure in rows:
        assert figure in markdown and figure.split(',')[0] in result.stdout
    image = cv2.imread(str(tmp_path / 'out/losses.png'))
    assert image.shape[0] > 1000 and image.shape[1] == 1300  # six rows of losses, three pictures wide


def test_runs_that_do_not_match_are_named(tool, runs, tmp_path):
    (log,) = runs.baseline.glob('*/vis_data/scalars.json')
    shorter = tmp_path / 'shorter.json'
    shorter.write_text('\n'.join(log.read_text().splitlines()[:3]))
    result = tool('compare', runs.fnoise, shorter, '--names', 'noise', 'short', '--out', tmp_path / 'out')
    assert 'differ in more than the noise: last iteration: 8 in noise, 3 in short' in result.stdout
    assert 'last iteration: 8 in noise, 3 in short' in (tmp_path / 'out/comparison.md').read_text()


def test_wrong_input(tool, runs, tmp_path):
    result = tool('compare', runs.baseline, tmp_path / 'nowhere', '--out', tmp_path / 'out', status=2)
    assert 'nowhere is neither a work dir nor a scalars.json' in result.stderr
    assert not (tmp_path / 'out').exists()
