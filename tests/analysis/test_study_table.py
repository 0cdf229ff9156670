import json

import pytest

from fnoise_mmdet.analysis.study_table import read_study, study_table
from fnoise_mmdet.errors import InputError


@pytest.fixture
def path(tmp_path):
    """A comparison of three conditions."""

    def difference(condition, by_seed, seeds, images):
        mean = sum(by_seed) / len(by_seed)
        return dict(
            condition=condition,
            mean=mean,
            by_seed=dict(enumerate(by_seed)),
            interval_seeds_t=seeds,
            interval_images_bootstrap=images,
        )

    ap = dict(
        key='coco/segm_mAP',
        label='mask AP',
        better='higher',
        values={'plain': {'0': 0.3, '1': 0.4}, 'weak': {'0': 0.35, '1': 0.45}, 'strong': {'0': 0.1, '1': None}},
        differences=[
            difference('weak', [0.04, 0.06], [0.01, 0.09], [-0.02, 0.12]),
            difference('strong', [-0.2], None, None),
        ],
    )
    loss = dict(key='loss', label='training loss', better='', values={'plain': {'0': 1.5}}, differences=[])
    time = dict(ap, key='time', label='seconds an iteration')
    content = dict(conditions=dict(plain={}, weak={}, strong={}), measures=[loss, time, ap])
    (tmp_path / 'comparison.json').write_text(json.dumps(content))
    return tmp_path / 'comparison.json'


def test_a_row_for_each_condition_under_each_measure(path):
    lines = study_table(read_study(path)).splitlines()
    assert lines[2:-2] == [
        '| **mask AP**, higher is better | | | | |',
        '| plain | 0.350 ± 0.071 |  |  |  |',
        '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | −0.020 to +0.120 |',
        '| strong | 0.100 | −0.200 | – | – |',
        '| **training loss** | | | | |',
        '| plain | 1.500 |  |  |  |',
    ]
    assert lines[-1].startswith('Mean ± standard deviation over 2 seeds; differences to plain,')


def test_what_stands_out_is_weighed_against_chance(path):
    content = json.loads(path.read_text())
    ap = content['measures'][-1]

    def note(*by_seed):
        ap['differences'] = [
            dict(condition=name, mean=sum(values) / 3, by_seed=dict(enumerate(values)), interval_seeds_t=None,
                 interval_images_bootstrap=None)
            for name, values in zip(('weak', 'strong'), by_seed)
        ]  # fmt: skip
        path.write_text(json.dumps(content))
        return study_table(read_study(path)).splitlines()[-1].partition('0 out. ')[2]

    chance, sure, lucky = (-0.1, 0.1, 0.2), (0.2, 0.2001, 0.2002), (0.1, 0.15, 0.19)
    assert note(chance, lucky) == (
        'Of the 2 differences in what has a better side, 1 leaves 0 out, where 0.1 would by chance alone; none still '
        "does after Holm's correction for their number."
    )
    assert ' 2 leave 0 out' in note(lucky, sure) and '; 2 still do after' in note(lucky, sure)
    assert '; none still does after' in note(chance, chance)
    assert not note(sure), 'one difference needs no correction'
    ap['better'] = ''
    assert not note(chance, sure), 'the training loss is told apart by the noise itself'


def test_conditions_and_measures_can_be_chosen(path):
    text = study_table(read_study(path, ['weak'], ['coco/segm_mAP']))
    assert '| weak |' in text and '| plain |' in text
    assert '| strong |' not in text and 'training loss' not in text


def test_what_is_not_there_is_named(path, tmp_path):
    with pytest.raises(InputError, match='has no condition other to show, but weak, strong'):
        read_study(path, ['other'])
    with pytest.raises(InputError, match='has no measure val_loss to show, but coco/segm_mAP, loss'):
        read_study(path, [], ['val_loss'])
    path.write_text('[]')
    for wrong in (path, tmp_path / 'nowhere.json'):
        with pytest.raises(InputError, match='is not the comparison.json of a report'):
            read_study(wrong)


@pytest.mark.parametrize(('page', 'conditions'), [('README.md', ['cct_0.3']), ('docs/study/README.md', [])])
def test_pages_have_the_table_of_what_is_kept(root, page, conditions):
    _, table, _ = (root / page).read_text(encoding='utf-8').split('<!-- study -->')
    assert table.strip() == study_table(read_study(root / 'docs/study/embedded/comparison.json', conditions))
