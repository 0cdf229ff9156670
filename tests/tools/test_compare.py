import json
import shutil

import cv2
import pytest


def test_compares_two_work_dirs(tool, runs, tmp_path):
    result = tool('compare', runs.baseline, runs.fnoise, '--out', tmp_path / 'out')
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert list(content['conditions']) == ['demo_baseline', 'demo_fnoise'] and content['warnings'] == []
    measures = {measure['key']: measure for measure in content['measures']}
    total = measures['loss']
    (difference,) = total['differences']
    assert difference['mean'] == pytest.approx(total['mean']['demo_fnoise'] - total['mean']['demo_baseline'])
    assert measures['coco/segm_mAP']['mean']['demo_fnoise'] == 0
    assert content['verdict'][0].startswith('No model reaches a mask AP of 0.01')
    markdown = (tmp_path / 'out/comparison.md').read_text()
    for measure in measures.values():
        assert measure['label'] in result.stdout
    assert content['verdict'][0] in markdown and '| validation loss ↓ |' in markdown
    image = cv2.imread(str(tmp_path / 'out/figures/losses.png'))
    assert image.shape[0] > 1000 and image.shape[1] == 1320  # six rows of losses, three pictures wide
    assert (tmp_path / 'out/report.html').stat().st_size > 1_000_000  # with all that it needs


@pytest.mark.slow
def test_groups_and_names(tool, runs, tmp_path):
    tool('compare', '--group', f'plain={runs.fnoise}', '--group', f'noise={runs.baseline}', '--out', tmp_path / 'out')
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert list(content['conditions']) == ['plain', 'noise'], 'in the order in which they are named'
    tool('compare', runs.baseline.parent, '--names', 'a', 'b', '--out', tmp_path / 'out', '--force')
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert list(content['conditions']) == ['a', 'b']


@pytest.mark.slow
def test_names_with_markup_and_folders_of_one_name(tool, runs, tmp_path):
    for name in ('A', 'B'):
        shutil.copytree(runs.baseline, tmp_path / name / 'seed_0')
    work_dirs = [tmp_path / name / 'seed_0' for name in ('A', 'B')]
    names = ['a[/b] $x', '<b>_|c</b> $']
    tool('compare', *work_dirs, '--out', tmp_path / 'out', '--images', 0)
    assert list(json.loads((tmp_path / 'out/comparison.json').read_text())['conditions']) == ['A/seed_0', 'B/seed_0']
    shown = tool('compare', *work_dirs, '--names', *names, '--out', tmp_path / 'out', '--force', '--images', 0).stdout
    assert names[0] in shown and names[1] in shown
    assert '&lt;b&gt;_|c&lt;/b&gt; $' in (tmp_path / 'out/report.html').read_text()
    markdown = (tmp_path / 'out/comparison.md').read_text()
    assert r'| a\[/b\] \$x | \<b\>\_\|c\</b\> \$ |' in markdown
    refused = tool('compare', *work_dirs, '--names', 'a', 'a', '--out', tmp_path / 'other', status=2)
    assert 'must differ and not be empty' in refused.stderr


def test_nothing_is_overwritten_without_force(tool, runs, tmp_path):
    kept = tmp_path / 'out' / 'mine.txt'
    kept.parent.mkdir()
    kept.write_text('mine')
    result = tool('compare', runs.baseline, runs.fnoise, '--out', tmp_path / 'out', status=2)
    assert 'already exists and is not changed' in result.stderr
    assert [path.name for path in kept.parent.iterdir()] == ['mine.txt']


def test_runs_that_do_not_match_are_named(tool, runs, tmp_path):
    (log,) = runs.baseline.glob('*/vis_data/scalars.json')
    shorter = tmp_path / 'shorter.json'
    shorter.write_text('\n'.join(log.read_text().splitlines()[:3]))
    result = tool('compare', runs.fnoise, shorter, '--names', 'noise', 'short', '--out', tmp_path / 'out')
    said = ' '.join(result.stdout.split())
    assert 'short does not match the other runs and is excluded: last iteration is 3, not 8' in said
    assert 'short and noise cannot be compared' in (tmp_path / 'out/comparison.md').read_text()


@pytest.mark.slow
def test_conditions_stand_as_in_their_study_without_those_that_a_sweep_has_cut(tool, runs, tmp_path):
    sweep = tmp_path / 'sweep'
    conditions = dict(baseline=runs.baseline, weak=runs.fnoise, strong=runs.fnoise, added=runs.fnoise)
    for name, run in conditions.items():
        shutil.copytree(run, sweep / name / 'seed_0')
    (sweep / 'study.json').write_text(json.dumps(dict(conditions=list(conditions), command='')))
    (sweep / 'sweep.json').write_text('{"promoted": {"weak": 1}, "cut": {"strong": 1}}')
    result = tool('compare', sweep, '--out', tmp_path / 'out', '--images', 0)
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    assert list(content['conditions']) == ['baseline', 'weak', 'added']
    assert content['warnings'] == ['strong was cut after epoch 1 by its sweep, and is excluded']
    assert content['warnings'][0] in ' '.join(result.stdout.split())
    alone = tool('compare', sweep / 'strong/seed_0', '--out', tmp_path / 'other', status=2)
    assert 'nothing is left to compare: seed_0 was cut after epoch 1 by its sweep' in alone.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{baseline}', '{tmp}/nowhere'], 'nowhere is neither a run (a work dir or a scalars.json) nor'),
        (['{tmp}'], 'no run in {tmp}'),
        (['--group', 'fnoise'], '--group fnoise is not of the form NAME=RUN,RUN'),
        (['--group', 'a={tmp}'], '--group a: {tmp} is not a run'),
        (['{baseline}', '--force', '--out', '{baseline}'], 'which this command reads, and cannot be replaced'),
        (['{baseline}', '--names', 'a', 'b'], '--names needs a name for each of 1 groups'),
        (['{baseline}', '--group', 'demo_baseline={baseline}'], 'two groups are called demo_baseline'),
        ([], 'name runs, a folder that holds them, or groups'),
    ],
)
def test_wrong_input(tool, runs, tmp_path, arguments, message):
    def fill(text):
        return text.format(baseline=runs.baseline, tmp=tmp_path)

    out = [] if '--out' in arguments else ['--out', tmp_path / 'out']
    result = tool('compare', *map(fill, arguments), *out, status=2)
    assert fill(message) in result.stderr
    assert not (tmp_path / 'out').exists() and (runs.baseline / 'epoch_2.pth').is_file()
