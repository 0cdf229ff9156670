from pathlib import Path

import pytest

from fnoise_mmdet.comparison import compare, find_groups, read_conditions
from fnoise_mmdet.comparison.conditions import changed_settings, flatten, settings_of, split_noise
from fnoise_mmdet.errors import InputError


def record(seed=0, **settings):
    config = dict(train_cfg=dict(max_epochs=2), randomness=dict(seed=seed), work_dir='w')
    data = dict(train=dict(ann_file='train.json', batch_size=8), val=dict(ann_file='val.json'))
    return dict(seed=seed, config={**config, **settings}, data=data, processes=1)


def test_a_study_is_found_by_its_folders(write_run, tmp_path):
    for condition in ('fnoise', 'baseline'):
        for seed in (1, 0):
            write_run(tmp_path / condition / f'seed_{seed}')
    (tmp_path / 'report').mkdir()
    groups = find_groups([tmp_path])
    assert {name: [path.name for path in paths] for name, paths in groups.items()} == {
        'baseline': ['seed_0', 'seed_1'],
        'fnoise': ['seed_0', 'seed_1'],
    }
    conditions, warnings = read_conditions(groups)
    assert warnings == []
    assert [sorted(condition.by_seed()) for condition in conditions] == [[0, 1], [0, 1]]


def test_runs_and_folders_of_runs_are_groups_by_themselves(write_run, tmp_path):
    runs = [write_run(tmp_path / 'all' / name) for name in ('a', 'b')]
    assert find_groups(runs) == {'a': [runs[0]], 'b': [runs[1]]} == find_groups([tmp_path / 'all'])
    log = next(runs[0].glob('*/vis_data/scalars.json'))
    assert find_groups([log]) == {'scalars': [log]}


def test_no_run(tmp_path):
    with pytest.raises(InputError, match=f'no run in {tmp_path}'):
        find_groups([tmp_path])
    with pytest.raises(InputError, match='nowhere is neither a run'):
        find_groups([Path('nowhere')])


def test_duplicate_folder_names_are_disambiguated(write_run, tmp_path):
    runs = [write_run(tmp_path / folder / 'run') for folder in ('a', 'b', 'c/a')]
    assert list(find_groups(runs)) == [f'{tmp_path.name}/a/run', 'b/run', 'c/a/run']
    assert list(find_groups([*runs[:2], tmp_path / 'c'])) == ['a/run', 'b/run', 'a']
    with pytest.raises(InputError, match='run is given twice'):
        find_groups([runs[0], tmp_path / 'b/../a/run'])


def test_run_is_called_by_its_folder_from_within(write_run, tmp_path, monkeypatch):
    monkeypatch.chdir(write_run(tmp_path / 'a/run'))
    assert list(find_groups([Path()])) == ['run']


@pytest.mark.parametrize(
    ('odd', 'said'),
    [
        (dict(epochs=1), 'last iteration is 3, not 6; last epoch is 1, not 2; validated epochs is 1, not 1, 2'),
        (dict(extra=('loss_mask',)), 'losses is loss, loss_cls, loss_mask, not loss, loss_cls'),
        (dict(record=record(2, train_cfg=dict(max_epochs=3))), 'schedule is train_cfg.max_epochs=3, not'),
        (dict(record={**record(2), 'processes': 2}), 'processes is 2, not 1'),
        (
            dict(record={**record(2), 'data': dict(train=dict(ann_file='other.json', batch_size=4))}),
            'training data is other.json, not train.json; batch size is 4, not 8',
        ),
    ],
)
def test_runs_that_do_not_match_are_excluded(write_run, tmp_path, odd, said):
    good = [write_run(tmp_path / f'seed_{seed}', record=record(seed)) for seed in (0, 1)]
    bad = write_run(tmp_path / 'seed_2', **{'record': record(2), **odd})
    (condition,), warnings = read_conditions({'a': [*good, bad]})
    assert [run.name for run in condition.runs] == ['a/seed_0', 'a/seed_1']
    assert [run.name for run in condition.excluded] == ['a/seed_2']
    assert len(warnings) == 1 and warnings[0].startswith('a/seed_2 does not match the other runs and is excluded')
    assert said in warnings[0]


def test_supervised_training_matches_one_with_unlabelled_images(write_run, tmp_path):
    streams = ('sup_loss_mask', 'feature_loss_mask')
    folders = [write_run(tmp_path / name, extra=streams[:count]) for name, count in (('supervised', 1), ('teacher', 2))]
    conditions, warnings = read_conditions({folder.name: [folder] for folder in folders})
    assert not warnings and all(len(one.runs) == 1 for one in conditions)
    measures = {one.key: one.values for one in compare(conditions).measures}
    assert measures['feature_loss'] == dict(supervised={}, teacher={0: 1.0})
    assert measures['sup_loss'] == dict(supervised={0: 1.0}, teacher={0: 1.0})


def test_notes_of_odd_runs(write_run, tmp_path):
    torn = write_run(tmp_path / 'torn', tail='{"loss": 1.')
    unvalidated = write_run(tmp_path / 'unvalidated', val=False)
    nan = write_run(tmp_path / 'nan', offset=float('nan'))
    rows = ''.join(f'{{"val_loss": 2.0, "data_time": 0.1, "time": 0.2, "step": {epoch}}}\n' for epoch in (1, 2))
    nothing = write_run(tmp_path / 'nothing', val=False, tail=rows)
    _, warnings = read_conditions({path.name: [path] for path in (torn, unvalidated, nan, nothing)})
    text = '\n'.join(warnings)
    assert f'torn: the last line of {next(torn.glob("*/vis_data/scalars.json"))} is truncated' in text
    assert 'unvalidated was never validated: it has no AP and no validation loss' in text
    assert 'nothing was never validated' not in text and 'nothing does not match' not in text
    assert 'the last validation of nothing reported no metric (CocoMetric reports none if nothing is detected)' in text
    assert 'nan diverged: loss, loss_cls not finite from iteration 1 on' in text


def test_seeds(write_run, tmp_path):
    a = [write_run(tmp_path / 'a' / f'seed_{seed}', record=record(seed)) for seed in (0, 1)]
    b = [write_run(tmp_path / 'b' / f'seed_{seed}', record=record(seed)) for seed in (1, 2)]
    _, warnings = read_conditions({'a': a, 'b': b})
    assert warnings == ['seeds 0, 2 are in only one of a and b and are excluded from the differences']
    with pytest.raises(InputError, match='condition a has 1 seeds with more than one run, e.g. 0'):
        read_conditions({'a': [a[0], write_run(tmp_path / 'c', record=record(0))]})


def test_unknown_seeds(write_run, tmp_path):
    known = write_run(tmp_path / 'a' / 'seed_1', record=record(1))
    first, second = (write_run(tmp_path / 'b' / name) for name in ('x', 'y'))
    _, warnings = read_conditions({'b': [first, second]})
    assert warnings == ['the seeds of the runs of b are unknown: they are paired in the order of their names']
    with pytest.raises(InputError, match='the seed of a/x is unknown .* but not that of a/seed_1'):
        read_conditions({'a': [known, first]})


def test_settings_that_differ_inside_a_condition_are_named(write_run, tmp_path):
    paths = [write_run(tmp_path / f'seed_{seed}', record=record(seed, model=dict(x=seed))) for seed in (0, 1)]
    _, warnings = read_conditions({'a': paths})
    assert warnings == ['the runs of a differ in more than their seed: model.x']


def test_what_differs_of_a_wrapped_neck_is_the_noise(make_run):
    neck = dict(type='FPN', in_channels=[8, 16], norm_cfg=dict(type='BN'))
    noisy = dict(type='FNoiseNeck', neck=neck, noise=dict(type='FeatureNoise', preset='cct'), levels=[-1])
    plain, wrapped = (
        settings_of(make_run('a', record=dict(config=dict(model=dict(detector=dict(neck=one)), work_dir='x'))))
        for one in (neck, noisy)
    )
    assert changed_settings(plain, wrapped) == {
        'model.detector.neck.noise.type': (None, 'FeatureNoise'),
        'model.detector.neck.noise.preset': (None, 'cct'),
        'model.detector.neck.levels.0': (None, -1),
    }
    assert plain['model.detector.neck.norm_cfg.type'] == wrapped['model.detector.neck.norm_cfg.type'] == 'BN'


def test_what_differs_of_a_wrapped_detector_is_the_noise(make_run):
    detector = dict(type='MaskRCNN', backbone=dict(type='ResNet', depth=18))
    noisy = dict(type='FNoiseDetector', detector=detector, place='stage', noise=dict(type='DSU'))
    plain, wrapped = (make_run('a', record=dict(config=dict(model=one, work_dir='x'))) for one in (detector, noisy))
    assert changed_settings(settings_of(plain), settings_of(wrapped)) == {
        'model.place': (None, 'stage'),
        'model.noise.type': (None, 'DSU'),
    }
    without, noises = split_noise(wrapped)
    assert without == split_noise(plain)[0]
    assert noises == [dict(type='FNoiseDetector', place='stage', noise=dict(type='DSU'))]


def test_robustness_that_is_not_alike_is_named(write_run, write_robustness, tmp_path):
    cells = [
        dict(kind='corruption', name='fog', severity=s, metrics={'bbox_mAP': 0.1}, predictions='x') for s in (1, 3, 5)
    ]
    tested = [('full', cells, {}), ('part', cells[:2], {}), ('other', cells, dict(seed=1)), ('none', None, {})]
    groups = {}
    for name, results, header in tested:
        groups[name] = [write_run(tmp_path / name, record=record())]
        if results:
            write_robustness(tmp_path / name, results, **header)
    conditions, warnings = read_conditions(groups)
    text = '\n'.join(warnings)
    assert 'part has 2 robustness evaluations, another run 3: only those that all runs have are compared' in text
    assert 'the robustness of other was evaluated on other images or with another seed' in text
    assert 'none has no robustness evaluation: run tools/robustness.py' in text
    assert [one.runs[0].robustness is not None for one in conditions] == [True, True, False, False]


def test_flatten_and_differences():
    a, b = flatten(dict(x=dict(y=1, z=[1, dict(w=2)]), e={})), flatten(dict(x=dict(y=2)))
    assert a == {'x.y': 1, 'x.z.0': 1, 'x.z.1.w': 2, 'e': {}}
    assert changed_settings(a, b) == {'x.y': (1, 2), 'x.z.0': (1, None), 'x.z.1.w': (2, None), 'e': ({}, None)}
