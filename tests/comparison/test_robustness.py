import json

import numpy as np
import pytest

from fnoise_mmdet.comparison.robustness import read_robustness
from fnoise_mmdet.errors import InputError

NAMES, SEVERITIES = ('fog', 'snow', 'contrast'), (1, 3, 5)
AP = np.random.default_rng(0).uniform(0, 0.5, (len(NAMES), len(SEVERITIES))).round(3)


def result(kind, ap, **settings):
    return dict(kind=kind, **settings, metrics={'bbox_mAP': ap, 'segm_mAP': ap / 2}, predictions='x')


@pytest.fixture
def full(write_robustness, tmp_path):
    cells = [
        result('corruption', AP[i, j], name=name, severity=severity)
        for i, name in enumerate(NAMES)
        for j, severity in enumerate(SEVERITIES)
    ]
    noise = [result('feature_noise', ap, preset='cct', scale=s) for ap, s in ((0.2, 1.0), (0.3, 0.5))]
    other = [result('feature_noise', 0.1, preset='l2', scale=0.5)]
    return write_robustness(tmp_path / 'run', [result('clean', 0.4), *cells, *noise, *other])


def test_figures_are_those_of_the_formulas(full):
    assert full.name == 'run' and full.metric_names() == ['segm_mAP', 'bbox_mAP']
    assert full.clean('bbox_mAP') == 0.4
    mpc = sum(sum(row) / len(SEVERITIES) for row in AP) / len(NAMES)
    assert full.mpc('bbox_mAP') == pytest.approx(mpc)
    assert full.rpc('bbox_mAP') == pytest.approx(mpc / 0.4)
    assert full.mpc('segm_mAP') == pytest.approx(mpc / 2) and full.rpc('segm_mAP') == pytest.approx(mpc / 0.4)
    assert full.by_corruption('bbox_mAP') == pytest.approx(dict(zip(NAMES, AP.mean(axis=1))))
    assert full.by_severity('bbox_mAP') == pytest.approx(dict(zip(SEVERITIES, AP.mean(axis=0))))
    assert full.by_scale('bbox_mAP') == {0: 0.4, 0.5: 0.3, 1: 0.2}
    assert full.by_scale('bbox_mAP', 'l2') == {0: 0.4, 0.5: 0.1}


def test_domains(write_robustness, tmp_path):
    results = [result('clean', 0.4), result('domain', 0.2, name='night'), result('domain', 0.1, name='flat')]
    assert write_robustness(tmp_path, results).by_domain('bbox_mAP') == dict(night=0.2, flat=0.1)


def test_cells_restrict_the_figures(full):
    cells = [('fog', 3), ('contrast', 5), ('frost', 1)]
    values = [AP[0, 1], AP[2, 2]]
    assert len(full.cells()) == 9
    assert full.mpc('bbox_mAP', cells) == pytest.approx(np.mean(values))
    assert full.rpc('bbox_mAP', cells) == pytest.approx(np.mean(values) / 0.4)
    assert full.by_corruption('bbox_mAP', cells) == dict(zip(('fog', 'contrast'), values))


def test_what_was_not_run_does_not_count(write_robustness, tmp_path):
    only = write_robustness(tmp_path, [result('clean', 0.4), result('corruption', 0.2, name='fog', severity=3)])
    assert only.mpc('bbox_mAP') == 0.2, 'mmdet gives 0.2 / 5'
    assert only.rpc('bbox_mAP') == 0.5
    assert only.by_scale('bbox_mAP') == {0: 0.4}
    assert only.mpc('bbox_mAP', []) is None and only.rpc('bbox_mAP', []) is None


def test_what_is_not_defined_is_none(write_robustness, tmp_path):
    corrupted = result('corruption', 0.0, name='fog', severity=3)
    assert write_robustness(tmp_path / 'a', [result('clean', 0.0), corrupted]).rpc('bbox_mAP') is None
    assert write_robustness(tmp_path / 'b', [corrupted]).rpc('bbox_mAP') is None
    nothing = write_robustness(tmp_path / 'c', [result('clean', -1), result('corruption', -1, name='fog', severity=3)])
    assert nothing.clean('bbox_mAP') is None and nothing.mpc('bbox_mAP') is None, "COCO's word for no ground truth"
    assert read_robustness(tmp_path / 'd') is None


def wrong(**changes):
    corrupted = result('corruption', 0.1, name='fog', severity=1) | changes
    return json.dumps(dict(checkpoint='x', ann_file='y', image_ids=[1], seed=0, results=[corrupted]))


@pytest.mark.parametrize(
    'text',
    [
        '{"checkpoint": ',
        '[]',
        '{"checkpoint": "x.pth"}',
        pytest.param('[' * 100_000, id='deep'),
        wrong(name=None),
        wrong(severity='1'),
        wrong(kind='other'),
        wrong(kind=[]),
        wrong(kind='feature_noise'),
        wrong(metrics=dict(bbox_mAP='x')),
        wrong(metrics=[]),
    ],
)
def test_file_of_something_else(tmp_path, text):
    (tmp_path / 'robustness').mkdir()
    (tmp_path / 'robustness/robustness.json').write_text(text)
    with pytest.raises(InputError, match='is not a file of tools/robustness.py'):
        read_robustness(tmp_path)
