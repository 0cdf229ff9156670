import pytest
from mmengine.config import Config

from fnoise_mmdet.studies.progress import StudyProgress, TrainingLog
from fnoise_mmdet.studies.study import study_runs


def test_log_reports_the_progress(tmp_path):
    path = tmp_path / 'train.log'
    path.write_text('INFO - Epoch(train) [4][10/10]  lr: 1\n')  # of an earlier start
    log = TrainingLog(path, 5)

    def add(text):
        with path.open('a') as file:
            file.write(text)
        return log.read()

    assert add('') == 0
    assert add('INFO - resumed epoch: 2, iter: 20\n') == log.start == pytest.approx(0.4)
    assert add('INFO - Epoch(train)  [3][ 5/10]  lr: 1\nINFO - Epoch(va') == pytest.approx(0.5)
    assert add('l)  [3][ 1/10]  AP: 1\nINFO - Epoch(train) [  4][10/10') == pytest.approx(0.5)
    assert add(']\n') == pytest.approx(0.8)


def test_log_of_a_training_counted_in_iterations(tmp_path):
    path = tmp_path / 'train.log'
    log = TrainingLog(path, None)
    assert log.read() == 0
    path.write_text('INFO - resumed epoch: 0, iter: 100\nINFO - Iter(train) [ 150/1000]  lr: 1\n')
    assert (log.read(), log.start) == (0.15, 0.1)


def test_a_log_file_says_how_far_the_trainings_are(tmp_path, monkeypatch, capsys):
    (run,) = study_runs(tmp_path, ['fnoise'], [0])
    with StudyProgress([run], {'fnoise': Config(dict(train_cfg=dict(max_epochs=5)))}, 1) as progress:
        progress.begin(run)
        run.log.parent.mkdir(parents=True)
        run.log.write_text('INFO - Epoch(train)  [2][ 5/10]  lr: 1\n')
        progress.refresh()
        monkeypatch.setattr('fnoise_mmdet.studies.log_lines.INTERVAL', 0)
        progress.refresh()
        assert '30% done: fnoise, seed 0 30%; ' in capsys.readouterr().out.splitlines()[-1]
