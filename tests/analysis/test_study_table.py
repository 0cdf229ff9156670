import json

import pytest

from fnoise_mmdet.analysis.study_table import study_table
from fnoise_mmdet.errors import InputError


@pytest.fixture
def path(tmp_path):
    """A comparison of three conditions."""

    def difference(condition, mean, seeds, images):
        return dict(condition=condition, mean=mean, interval_seeds_t=seeds, interval_images_bootstrap=images)

    ap = dict(
        key='coco/segm_mAP',
        label='mask AP',
        better='higher',
        values={'plain': {'0': 0.3, '1': 0.4}, 'weak': {'0': 0.35, '1': 0.45}, 'strong': {'0': 0.1, '1': None}},
        differences=[
            difference('weak', 0.05, [0.01, 0.09], [-0.02, 0.12]),
            difference('strong', -0.2, None, None),
        ],
    )
    loss = dict(key='loss', label='training loss', better='', values={'plain': {'0': 1.5}}, differences=[])
    time = dict(ap, key='time', label='seconds an iteration')
    content = dict(conditions=dict(plain={}, weak={}, strong={}), measures=[loss, time, ap])
    (tmp_path / 'comparison.json').write_text(json.dumps(content))
    return tmp_path / 'comparison.json'


def test_a_row_for_each_condition_under_each_measure(path):
    lines = study_table(path).splitlines()
    assert lines[2:-2] == [
        '| **mask AP**, higher is better | | | | |',
        '| plain | 0.350 ± 0.071 |  |  |  |',
        '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | −0.020 to +0.120 |',
        '| strong | 0.100 | −0.200 | – | – |',
        '| **training loss** | | | | |',
        '| plain | 1.500 |  |  |  |',
    ]
    assert lines[-1].startswith('Mean ± standard deviation over 2 seeds; differences to plain,')


def test_conditions_and_measures_can_be_chosen(path):
    text = study_table(path, ['weak'], ['coco/segm_mAP'])
    assert '| weak |' in text and '| plain |' in text
    assert '| strong |' not in text and 'training loss' not in text


def test_what_is_not_there_is_named(path, tmp_path):
    with pytest.raises(InputError, match='has no condition other to show, but weak, strong'):
        study_table(path, ['other'])
    with pytest.raises(InputError, match='has no measure val_loss to show, but coco/segm_mAP, loss'):
        study_table(path, [], ['val_loss'])
    path.write_text('[]')
    for wrong in (path, tmp_path / 'nowhere.json'):
        with pytest.raises(InputError, match='is not the comparison.json of a report'):
            study_table(wrong)


def test_the_readme_has_the_table_of_what_is_kept(root):
    _, table, _ = (root / 'README.md').read_text(encoding='utf-8').split('<!-- study -->')
    assert table.strip() == study_table(root / 'docs/study/demo.json')
