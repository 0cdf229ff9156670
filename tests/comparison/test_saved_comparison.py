import copy
import json

import pytest

from fnoise_mmdet.comparison.intervals import t_interval
from fnoise_mmdet.comparison.measure_table import study_page
from fnoise_mmdet.comparison.saved_comparison import read_comparisons
from fnoise_mmdet.errors import InputError

SEEDS = {0: 0.3, 1: 0.4, 2: 0.35, 3: 0.5}


def write(path, seeds, **changes):
    """Write a comparison: seed by seed, weak has more than plain by 0.01 times the seed and one, strong 0.2 less."""
    values = dict(
        plain={str(seed): SEEDS[seed] for seed in seeds},
        weak={str(seed): SEEDS[seed] + 0.01 * (seed + 1) for seed in seeds},
        strong={str(seed): SEEDS[seed] - 0.2 for seed in seeds},
    )

    def difference(condition):
        by_seed = {seed: value - values['plain'][seed] for seed, value in values[condition].items()}
        return dict(
            condition=condition,
            reference='plain',
            mean=sum(by_seed.values()) / len(seeds),
            by_seed=by_seed,
            interval_seeds_t=t_interval(list(by_seed.values())),
            interval_images_bootstrap=[-0.1, 0.2],
        )

    ap = dict(key='coco/segm_mAP', label='mask AP', better='higher', values=values,
              differences=[difference('weak'), difference('strong')])  # fmt: skip
    loss = dict(key='loss', label='training loss', better='', differences=[],
                values=dict(plain=values['plain'], weak={}, strong={}))  # fmt: skip
    time = dict(ap, key='time', label='seconds an iteration')
    content = dict(
        conditions=dict(plain={}, weak={}, strong={}),
        settings=dict(scale=['–', 0.1, 1.0]),
        measures=[loss, time, ap],
    )
    path.write_text(json.dumps(content | changes))
    return path


def test_single_comparison(tmp_path):
    study = read_comparisons([write(tmp_path / 'a.json', [0, 1])])
    assert study.conditions == ['plain', 'weak', 'strong'] and study.seeds() == {0, 1}
    ap, loss = study.measures  # time is not what a study is about
    assert (ap.key, loss.key) == ('coco/segm_mAP', 'loss')
    assert ap.values['plain'] == {0: 0.3, 1: 0.4}
    difference, strong = study.differences
    assert difference.measure == strong.measure == ap
    assert strong.condition == 'strong' and strong.mean == pytest.approx(-0.2)
    assert difference.mean == pytest.approx(0.015)
    assert difference.seeds == pytest.approx(t_interval([0.01, 0.02])) and difference.images == (-0.1, 0.2)


def test_nan_is_omitted(tmp_path):
    path = write(tmp_path / 'a.json', [0, 1])
    content = json.loads(path.read_text())
    content['measures'][2]['values']['weak']['1'] = None
    path.write_text(json.dumps(content))
    assert read_comparisons([path]).measures[0].values['weak'] == {0: pytest.approx(0.31)}


def test_shares_of_the_seeds_are_one_study(tmp_path):
    paths = [write(tmp_path / 'a.json', [0, 1]), write(tmp_path / 'b.json', [3]), write(tmp_path / 'c.json', [2])]
    together = read_comparisons(paths)
    whole = read_comparisons([write(tmp_path / 'whole.json', [0, 1, 3, 2])])
    assert together.seeds() == {0, 1, 2, 3}
    assert [one.values for one in together.measures] == [one.values for one in whole.measures]
    assert [one.condition for one in together.differences] == ['weak', 'strong']
    found, expected = together.differences[0], whole.differences[0]
    assert found.by_seed == pytest.approx(expected.by_seed)
    assert found.mean == pytest.approx(0.025) and found.seeds == pytest.approx(expected.seeds)
    assert found.images is None, 'no file has the detections of all'


def test_measures_missing_in_a_file_are_omitted(tmp_path):
    paths = [write(tmp_path / 'a.json', [0, 1]), write(tmp_path / 'b.json', [2], measures=[])]
    assert read_comparisons(paths[:1]).measures and not read_comparisons(paths).measures


@pytest.mark.parametrize(
    ('changes', 'what'),
    [
        (dict(settings=dict(scale=['–', 0.2, 1.0])), 'their conditions differ in other settings, scale'),
        (dict(conditions=dict(weak={}, plain={}, strong={})), 'their first conditions are weak and plain'),
    ],
)
def test_other_conditions_are_not_joined(tmp_path, changes, what):
    a, b = write(tmp_path / 'a.json', [0, 1]), write(tmp_path / 'b.json', [2], **changes)
    with pytest.raises(InputError, match=rf'b\.json and .*a\.json are not of one study: {what}'):
        read_comparisons([a, b])


def test_a_condition_may_have_fewer_seeds(tmp_path):
    a = write(tmp_path / 'a.json', [0, 1], settings=dict(scale=['–', 0.1, 1.0], flip=[True, True, False]))
    b = write(tmp_path / 'b.json', [2, 3])
    content = json.loads(b.read_text())
    content['conditions'] = dict(plain={}, weak={}, weaker={})
    content['settings'] = dict(scale=['–', 0.1, 0.05], place=['neck', 'neck', 'head'])
    for measure in content['measures']:
        measure['values']['weaker'] = measure['values'].pop('strong')
        for difference in measure['differences']:
            difference['condition'] = difference['condition'].replace('strong', 'weaker')
    b.write_text(json.dumps(content))

    for paths, names in (([a, b], ['weak', 'strong', 'weaker']), ([b, a], ['weak', 'weaker', 'strong'])):
        study = read_comparisons(paths)
        assert study.conditions == ['plain', *names]
        settings = {key: dict(zip(study.conditions, values)) for key, values in study.settings.items()}
        assert settings == dict(
            scale=dict(plain='–', weak=0.1, strong=1.0, weaker=0.05),
            flip=dict(plain=True, weak=True, strong=False, weaker=True),
            place=dict(plain='neck', weak='neck', strong='neck', weaker='head'),
        )
        (ap, differences), (loss, none) = study.by_measure()
        assert {one.condition: sorted(one.by_seed) for one in differences} == dict(
            weak=[0, 1, 2, 3], strong=[0, 1], weaker=[2, 3]
        )
        assert (ap.key, loss.key, none) == ('coco/segm_mAP', 'loss', [])


def test_warnings_are_of_the_conditions_shown_without_duplicates(tmp_path):
    warnings = ['weak/seed_0 diverged', 'strong has no robustness evaluation', 'the machines differ']
    paths = [write(tmp_path / f'{seed}.json', [seed], warnings=warnings) for seed in (0, 1)]
    assert read_comparisons(paths).warnings == warnings
    assert read_comparisons(paths, ['weak']).warnings == [warnings[0], warnings[2]]


def test_annotation_files_may_depend_on_the_seed(tmp_path):
    def files(*names):
        return dict(settings={'train_dataloader.dataset.ann_file': list(names)})

    a = write(tmp_path / 'a.json', [0, 1], **files('0@64', '0@64', '0@128'))
    b = write(tmp_path / 'b.json', [2], **files('2@64', '2@64', '2@128'))
    assert read_comparisons([a, b]).seeds() == {0, 1, 2}
    other = write(tmp_path / 'c.json', [3], **files('3@64', '3@128', '3@128'))
    with pytest.raises(InputError, match='differ in other settings, train_dataloader.dataset.ann_file'):
        read_comparisons([a, other])


@pytest.mark.parametrize(
    'kept',
    [
        'embedded',
        *(f'labels/{count}' for count in (40, 80, 160, 640)),
        'photos',
        *(f'semi/{part}' for part in ('trained', 'frozen', 'photos', 'settings')),
    ],
)
def test_kept_files_are_one_study(root, kept):
    files = sorted((root / 'docs/study' / kept).glob('seeds_*.json'))
    assert len(read_comparisons(files).seeds()) >= len(files) > 1


def test_a_seed_in_two_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'b\.json: seed 1 is in another file already'):
        read_comparisons([write(tmp_path / 'a.json', [0, 1]), write(tmp_path / 'b.json', [1, 2])])


def test_conditions_and_measures_can_be_chosen(tmp_path):
    path = write(tmp_path / 'a.json', [0, 1])
    study = read_comparisons([path], ['weak'], ['loss'])
    assert study.conditions == ['plain', 'weak'], 'strong was not asked for'
    assert [one.key for one in study.measures] == ['loss']
    assert not study.differences, 'of AP, which was not asked for'
    (weak,) = read_comparisons([path], ['weak'], ['coco/segm_mAP']).differences
    assert weak.condition == 'weak'
    assert len(read_comparisons([path], measures=['coco/segm_mAP']).differences) == 2
    assert [one.key for one in read_comparisons([path], measures=['loss', 'coco/segm_mAP']).measures] == [
        'loss',
        'coco/segm_mAP',
    ]


def test_missing_name_is_reported(tmp_path):
    path = write(tmp_path / 'a.json', [0, 1])
    with pytest.raises(InputError, match=r'a\.json has no condition other to show, but weak, strong'):
        read_comparisons([path], ['other'])
    with pytest.raises(InputError, match='has no measure val_loss to show, but loss, time, coco/segm_mAP'):
        read_comparisons([path], [], ['val_loss'])


@pytest.mark.parametrize(
    'content',
    [
        '[]',
        '{',
        '{}',
        '{"measures": {"a": 1}}',
        '{"measures": [1]}',
        '{"conditions": ["a\\u001b[31m"], "measures": [], "settings": {}}',
        '{"conditions": [], "measures": [], "settings": [1]}',
    ],
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / 'a.json'
    with pytest.raises(InputError, match='is not the comparison.json of a report'):
        read_comparisons([path])
    path.write_text(content)
    with pytest.raises(InputError, match='is not the comparison.json of a report'):
        read_comparisons([path])


@pytest.mark.filterwarnings('ignore')  # from SciPy, on too few values
def test_any_change_is_read_or_refused(tmp_path):
    """Values of a file are replaced by others, one at a time."""
    content = json.loads(write(tmp_path / 'a.json', [0, 1]).read_text())

    def places(node, path=()):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            if isinstance(child, dict | list):
                yield from places(child, (*path, key))

    for *path, last in places(content):
        for junk in (None, 'x', -1, 1e999, 10**400, [], {}, [None], {'x': [1]}):
            changed = copy.deepcopy(content)
            node = changed
            for key in path:
                node = node[key]
            node[last] = junk
            (tmp_path / 'b.json').write_text(json.dumps(changed))
            try:
                study_page(read_comparisons([tmp_path / 'b.json']))
            except InputError as error:
                assert 'b.json' in str(error)
