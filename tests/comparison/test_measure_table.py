import pytest

from fnoise_mmdet.comparison.compare import Difference
from fnoise_mmdet.comparison.intervals import Interval, t_interval
from fnoise_mmdet.comparison.measure_table import measure_table, regime_page, study_page
from fnoise_mmdet.comparison.measures import Measure
from fnoise_mmdet.comparison.saved_comparison import SavedComparison

AP = Measure(
    'coco/segm_mAP',
    'mask AP',
    'higher',
    {'plain': {0: 0.3, 1: 0.4}, 'weak': {0: 0.35, 1: 0.45}, 'strong': {0: 0.1}},
)
LOSS = Measure('loss', 'training loss', '', {'plain': {0: 1.5}})


def difference(condition, by_seed, seeds, images=None, measure=AP):
    return Difference(measure, condition, 'plain', dict(enumerate(by_seed)), seeds, images)


@pytest.fixture
def study():
    """Three conditions, in two measures."""
    weak = difference('weak', [0.04, 0.06], Interval(0.01, 0.09), Interval(-0.02, 0.12))
    return SavedComparison(['plain', 'weak', 'strong'], [AP, LOSS], [weak, difference('strong', [-0.2], None)], {}, [])


def markdown(study):
    return measure_table(study.conditions, study.measures, study.differences).markdown().splitlines()


def test_several_conditions_have_a_row_each_under_every_measure(study):
    assert markdown(study) == [
        '|  | mean | difference | 95 % CI over seeds | 95 % CI over images | conclusion |',
        '| --- | ---: | ---: | ---: | ---: | --- |',
        '| **mask AP ↑** |  |  |  |  |  |',
        '| plain | 0.350 ± 0.071 |  |  |  |  |',
        '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | −0.020 to +0.120 | helps |',
        '| strong | 0.100 | −0.200 | – | – | one pair (n = 1) |',
        '| **training loss** |  |  |  |  |  |',
        '| plain | 1.500 |  |  |  |  |',
    ]


def test_pair_has_one_row_per_measure(study):
    pair = study._replace(conditions=['plain', 'weak'], differences=study.differences[:1])
    assert markdown(pair) == [
        '|  | plain | weak | difference | 95 % CI over seeds | 95 % CI over images | conclusion |',
        '| --- | ---: | ---: | ---: | ---: | ---: | --- |',
        '| mask AP ↑ | 0.350 ± 0.071 | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | −0.020 to +0.120 | helps |',
        '| training loss | 1.500 | – |  |  |  |  |',
    ]


def test_no_column_without_intervals_over_images(study):
    without = study._replace(differences=[one._replace(images=None) for one in study.differences])
    head, rule, *lines = markdown(without)
    assert head == '|  | mean | difference | 95 % CI over seeds | conclusion |'
    assert rule == '| --- | ---: | ---: | ---: | --- |' and 'images' not in study_page(without)
    assert '| weak | 0.400 ± 0.071 | **+0.050** | +0.010 to +0.090 | helps |' in lines


def test_intervals_of_other_measures_add_no_column(study):
    head = measure_table(study.conditions, [LOSS], study.differences).markdown().splitlines()[0]
    assert head == '|  | mean | difference | 95 % CI over seeds | conclusion |'


def test_memory_has_no_decimals():
    memory = Measure('memory', 'peak memory, MiB', '', {'plain': {0: 900.4}, 'weak': {0: 1000.5}})
    row = markdown(
        SavedComparison(
            ['plain', 'weak'], [memory], [difference('weak', [100.1], Interval(-9.6, 210.2), None, memory)], {}, []
        )
    )
    assert row[-1] == '| peak memory, MiB | 900 | 1000 | +100 | −10 to +210 | inconclusive |'


def test_note_states_the_statistics(study):
    note = study_page(study).splitlines()[-1]
    assert note.startswith('Mean ± standard deviation over 2 seeds; ↑ higher is better, ↓ lower; differences to plain')
    assert 'bootstrap over images' in note


def test_warnings_follow_the_table(study):
    page = study_page(study._replace(warnings=['weak/seed_1 diverged: loss is NaN at 7', 'a|b']))
    assert page.endswith('\n\nWarnings:\n\n- weak/seed_1 diverged: loss is NaN at 7\n- a\\|b')


def test_note_counts_significant_differences(study):
    def note(*by_seed, measure=AP):
        found = [
            difference(name, values, t_interval(values), measure=measure)
            for name, values in zip(('weak', 'strong'), by_seed)
        ]
        return study_page(study._replace(differences=found)).splitlines()[-1].partition('(power 80 %).')[2].lstrip()

    chance, sure, lucky = (-0.1, 0.1, 0.2), (0.2, 0.2001, 0.2002), (0.1, 0.15, 0.19)
    assert note(chance, lucky) == (
        'Of the 2 differences in measures with a preferred direction, 1 is significant (0.1 expected by chance), none '
        "after Holm's correction within each measure."
    )
    assert ' 2 are significant' in note(lucky, sure) and ', 2 after' in note(lucky, sure)
    assert ' none is significant' in note(chance, chance) and ', none after' in note(chance, chance)
    assert not note(sure), 'one difference needs no correction'
    assert not note(chance, sure, measure=LOSS), 'the training loss is told apart by the noise itself'


def test_conditions_of_several_regimes_are_corrected_for_their_number(study):
    def regimes(**by_seed):
        return {
            regime: study._replace(differences=[difference('weak', values, t_interval(values))])
            for regime, values in by_seed.items()
        }

    def note(studies):
        return regime_page(studies).splitlines()[-1].partition('(power 80 %).')[2]

    chance, sure, lucky = (-0.1, 0.1, 0.2), (0.2, 0.2001, 0.2002), (0.1, 0.15, 0.19)
    head = " Significant after Holm's correction for the number of sections: weak in"
    assert note(regimes(few=lucky, many=chance)) == f'{head} none of 2.'
    assert note(regimes(few=sure, many=lucky)) == f'{head} 2 of 2 (few: mask AP, many: mask AP).'
    assert note(regimes(few=sure, many=lucky, all=chance)) == f'{head} 1 of 3 (few: mask AP).'
    assert not note(regimes(few=sure)), 'one section needs no correction'
    strong = difference('strong', [0.2], None)
    assert 'strong' not in note(
        {
            name: one._replace(differences=[*one.differences, strong])
            for name, one in regimes(few=lucky, many=chance).items()
        }
    )
