import json

import pytest
from mmengine.config import Config

from fnoise_mmdet.comparison.study_file import study_command, study_conditions
from fnoise_mmdet.engine.resume import locked
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies import study
from fnoise_mmdet.studies.study import (
    BROKEN,
    FINISHED,
    NEW,
    StudyRun,
    check_study,
    held,
    study_runs,
    training_command,
    write_study,
)


def configs(lr=0.1):
    pipeline = [dict(type='Resize', scale=(128, 64))]
    return {name: Config(dict(model=dict(type=name), optim=dict(lr=lr), pipeline=pipeline)) for name in ('a', 'b')}


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / 'study'
    with locked(folder):
        write_study(folder, configs(), ['python', 'tools/run_pair.py', 'my config.py'])
    return folder


def test_conditions_take_turns(tmp_path):
    runs = study_runs(tmp_path, ['a', 'b'], [3, 1])
    assert [str(run) for run in runs] == ['a, seed 3', 'b, seed 3', 'a, seed 1', 'b, seed 1']
    assert runs[1].work_dir == tmp_path / 'b/seed_3'
    with pytest.raises(InputError, match='seed 1 is given more than once'):
        study_runs(tmp_path, ['a'], [1, 2, 1])


def test_state_of_a_run(tmp_path):
    run = StudyRun('a', 0, tmp_path / 'a')
    assert run.state() == NEW
    run.work_dir.mkdir()
    (run.work_dir / 'last_checkpoint').write_text('/moved/from/here/epoch_1.pth')
    assert run.state() == NEW
    (run.work_dir / 'epoch_1.pth').touch()
    assert run.state() == NEW  # there is nothing to go on from in a checkpoint that is cut off
    (run.work_dir / 'epoch_1.pth').write_bytes(b'weights')
    assert run.state() == BROKEN and run.last_checkpoint() == run.work_dir / 'epoch_1.pth'
    assert f'--resume={run.last_checkpoint()}' in training_command(['train'], tmp_path, run)
    assert '--resume' in training_command(['train'], tmp_path, run, newest=True)
    run.marker.touch()
    assert run.state() == FINISHED


def test_study_resumes_only_with_its_settings(out, tmp_path):
    check_study(out, configs())
    assert json.loads((out / 'study.json').read_text())['command'] == "python tools/run_pair.py 'my config.py'"
    assert study_command(out / 'a/seed_0') == "python tools/run_pair.py 'my config.py'"
    assert study_command(tmp_path / 'elsewhere/a/seed_0') is None
    with pytest.raises(InputError, match=r'other settings: a differs in optim.lr \(was 0.1, now 0.2\)'):
        check_study(out, configs(lr=0.2))
    with pytest.raises(InputError, match='is a study of a and b'):
        check_study(out, dict(configs(), c=Config()))
    # What was begun is trained, whatever a later call would write.
    write_study(out, configs(lr=0.2), [])
    assert Config.fromfile(out / 'a.py').optim.lr == 0.1 and Config.fromfile(out / 'a.py').pipeline[0].scale == (
        128,
        64,
    )


def test_study_that_may_grow_gets_conditions_and_loses_none(out):
    more = dict(configs(), c=Config(dict(model=dict(type='c'))))
    check_study(out, more, may_grow=True)
    write_study(out, more, ['python', 'tools/sweep.py'])
    assert json.loads((out / 'study.json').read_text())['conditions'] == ['a', 'b', 'c']
    assert study_command(out / 'c/seed_0') == "python tools/run_pair.py 'my config.py'\npython tools/sweep.py"
    check_study(out, more)
    # A part of them is a call of the same study; what is there is never changed.
    check_study(out, dict(c=more['c']), may_grow=True)
    write_study(out, dict(c=more['c']), ['python', 'tools/sweep.py', 'again'])
    assert 'again' not in study_command(out / 'c/seed_0')
    with pytest.raises(InputError, match=r'other settings: a differs in optim.lr \(was 0.1, now 0.2\)'):
        check_study(out, dict(configs(lr=0.2), d=Config()), may_grow=True)


def test_data_that_conditions_share_are_checked_once(tmp_path, monkeypatch):
    calls = []

    def check_training(cfg, with_data):
        calls.append((cfg.model.type, with_data))
        if cfg.model.type == 'd':
            raise InputError('the model is wrong')

    monkeypatch.setattr(study, 'check_training', check_training)
    loaders = dict(a='one', b='one', c='other', d='one')
    cfgs = {
        name: Config(dict(model=dict(type=name), train_dataloader=dict(dataset=dict(ann_file=file))))
        for name, file in loaders.items()
    }
    with pytest.raises(InputError, match='d: the model is wrong'):
        study.check_configs(tmp_path, cfgs)
    assert calls == [('a', True), ('b', False), ('c', True), ('d', False)]


def test_folder_of_something_else_is_left_alone(tmp_path):
    check_study(tmp_path / 'new', configs())
    check_study(tmp_path, configs())
    (tmp_path / 'photo.jpg').touch()
    with pytest.raises(InputError, match='is not empty and not a study'):
        check_study(tmp_path, configs())
    with pytest.raises(InputError, match='is a file'):
        check_study(tmp_path / 'photo.jpg', configs())


@pytest.mark.parametrize('written', [0, 1, 2])
def test_study_that_was_stopped_between_its_first_files_resumes(tmp_path, written):
    folder = tmp_path / 'study'
    with locked(folder):
        write_study(folder, configs(), ['python'])
    (folder / 'study.json').rename(folder / '.study.json.123.part')
    for name in ('b.py', 'a.py')[written:]:
        (folder / name).unlink(missing_ok=True)
    with held(folder, configs(), study_runs(folder, ['a', 'b'], [0])):
        assert study_conditions(folder) == ['a', 'b']
        assert sorted(path.name for path in folder.iterdir()) == ['.lock', 'a.py', 'b.py', 'study.json']


def test_config_of_the_user_is_no_part_of_a_study(tmp_path):
    (tmp_path / 'a.py').write_text('x = 1')
    with pytest.raises(InputError, match='is not empty and not a study'):
        check_study(tmp_path, configs())
    assert (tmp_path / 'a.py').read_text() == 'x = 1'


def test_study_is_held_while_it_runs(tmp_path, capsys):
    folder = tmp_path / 'study'
    runs = study_runs(folder, list(configs()), [0])
    with held(folder, configs(), runs):
        assert study_conditions(folder) == ['a', 'b']
        with pytest.raises(InputError, match='another process is using'), held(folder, configs(), runs):
            pass
    runs[0].work_dir.mkdir(parents=True)
    runs[0].marker.touch()
    with held(folder, configs(), runs):
        assert capsys.readouterr().out.splitlines()[-1] == f'2 runs, 1 of them finished, in {folder}'
    with pytest.raises(InputError, match='is a study with other settings'), held(folder, configs(lr=0.2), runs):
        pass


@pytest.mark.parametrize('content', ['{', '[]', '{}', '{"conditions": 3}', '{"conditions": [1], "command": ""}'])
def test_folder_of_something_else_is_no_study(tmp_path, content):
    write_study(tmp_path, configs(), ['python'])
    (tmp_path / 'study.json').write_text(content)
    for use in (check_study, lambda *args: write_study(*args, ['python'])):
        with pytest.raises(InputError, match='study.json is not the file of a study'):
            use(tmp_path, configs())


@pytest.mark.parametrize('content', [None, 'x = ', 'raise SystemExit(3)'])
def test_config_of_a_study_that_cannot_be_read_is_named(tmp_path, content):
    write_study(tmp_path, configs(), ['python'])
    (tmp_path / 'a.py').unlink()
    if content:
        (tmp_path / 'a.py').write_text(content)
    with pytest.raises(InputError, match='is a study whose config .*a.py cannot be read'):
        check_study(tmp_path, configs())


@pytest.mark.parametrize('content', [None, '[]', '{}', '{'])
def test_folder_that_is_no_study_has_no_command_and_no_conditions(tmp_path, content):
    if content:
        (tmp_path / 'study.json').write_text(content)
    assert study_command(tmp_path / 'a/seed_0') is None and study_conditions(tmp_path) == []


def test_one_process_at_a_time(out):
    with locked(out), pytest.raises(InputError, match='another process is using'), locked(out):
        pass
    with locked(out):
        pass
