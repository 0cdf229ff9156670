import pytest

from fnoise_mmdet.comparison.compare import Difference
from fnoise_mmdet.comparison.intervals import Interval, t_interval
from fnoise_mmdet.comparison.measures import Measure
from fnoise_mmdet.comparison.saved_comparison import SavedComparison, read_comparisons
from fnoise_mmdet.comparison.study_table import study_table

AP = Measure(
    'coco/segm_mAP',
    'mask AP',
    'higher',
    {'plain': {0: 0.3, 1: 0.4}, 'weak': {0: 0.35, 1: 0.45}, 'strong': {0: 0.1}},
)
# Of the real images, as `make study-real` has it.
LOSSES = [
    'coco/segm_mAP',
    'coco/bbox_mAP',
    'val_loss',
    'loss',
    'loss_rpn_cls',
    'loss_rpn_bbox',
    'loss_cls',
    'loss_bbox',
    'loss_mask',
]
LOSS = Measure('loss', 'training loss', '', {'plain': {0: 1.5}})


def difference(condition, by_seed, seeds, images=None, measure=AP):
    return Difference(measure, condition, 'plain', dict(enumerate(by_seed)), seeds, None, images)


@pytest.fixture
def study():
    """Three conditions, in two measures."""
    weak = difference('weak', [0.04, 0.06], Interval(0.01, 0.09), Interval(-0.02, 0.12))
    return SavedComparison(['plain', 'weak', 'strong'], [AP, LOSS], [weak, difference('strong', [-0.2], None)], {})


def test_a_row_for_each_condition_under_each_measure(study):
    head, _, *lines, _, note = study_table(study).splitlines()
    assert head == '|  | mean | difference | 95 % CI over seeds | 95 % CI over images |'
    assert lines == [
        '| **mask AP**, higher is better |  |  |  |  |',
        '| plain | 0.350 ± 0.071 |  |  |  |',
        '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | −0.020 to +0.120 |',
        '| strong | 0.100 | −0.200 | – | – |',
        '| **training loss** |  |  |  |  |',
        '| plain | 1.500 |  |  |  |',
    ]
    assert note.startswith('Mean ± standard deviation over 2 seeds; differences to plain are paired by seed,')
    assert 'bootstrap over images' in note


def test_without_intervals_over_images_there_is_no_column_of_them(study):
    text = study_table(study._replace(differences=[one._replace(images=None) for one in study.differences]))
    head, rule, *lines = text.splitlines()
    assert head == '|  | mean | difference | 95 % CI over seeds |' and rule == '|---|---:|---:|---:|'
    assert '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 |' in lines
    assert 'images' not in text


def test_what_stands_out_is_weighed_against_chance(study):
    def note(*by_seed, measure=AP):
        found = [
            difference(name, values, t_interval(values), measure=measure)
            for name, values in zip(('weak', 'strong'), by_seed)
        ]
        return study_table(study._replace(differences=found)).splitlines()[-1].partition('excludes 0. ')[2]

    chance, sure, lucky = (-0.1, 0.1, 0.2), (0.2, 0.2001, 0.2002), (0.1, 0.15, 0.19)
    assert note(chance, lucky) == (
        'Of the 2 differences in measures with a preferred direction, 1 is significant (0.1 expected by chance), none '
        "after Holm's correction."
    )
    assert ' 2 are significant' in note(lucky, sure) and ', 2 after' in note(lucky, sure)
    assert ' none is significant' in note(chance, chance) and ', none after' in note(chance, chance)
    assert not note(sure), 'one difference needs no correction'
    assert not note(chance, sure, measure=LOSS), 'the training loss is told apart by the noise itself'


@pytest.mark.parametrize('kept', ['embedded', 'real'])
def test_the_page_has_the_tables_of_what_is_kept(root, kept):
    _, table, _ = (root / 'docs/study/README.md').read_text(encoding='utf-8').split(f'<!-- {kept} -->')
    files = sorted((root / 'docs/study' / kept).glob('seeds_*.json'))
    shown = LOSSES if kept == 'real' else []
    assert table.strip() == study_table(read_comparisons(files, [], shown))
