import json

import pytest

from fnoise_mmdet.comparison import read_run
from fnoise_mmdet.errors import InputError


def train_row(step, loss, epoch=1):
    return dict(lr=0.1, loss_cls=loss / 2, loss=loss, time=0.5, epoch=epoch, iter=step, step=step)


def val_row(epoch, ap):
    return {'coco/bbox_mAP': ap, 'time': 0.1, 'step': epoch}


def write(path, rows, tail=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(map(json.dumps, rows)) + tail)


@pytest.fixture
def work_dir(tmp_path):
    """A run that was killed in its second epoch, after iteration 4, and resumed from iteration 2."""
    first = [
        *(train_row(step, 10 - step, epoch=1 + (step > 2)) for step in (1, 2)),
        {'epoch/mean_loss': 8.5, 'step': 1},
        val_row(1, 0.1),
        *(train_row(step, 99.0, epoch=2) for step in (3, 4)),
    ]
    second = [
        *(train_row(step, 10 - step, epoch=2) for step in (3, 4)),
        {'epoch/mean_loss': 6.5, 'step': 2},
        val_row(2, 0.2),
    ]
    write(tmp_path / 'run/20260101_000000/vis_data/scalars.json', first)
    write(tmp_path / 'run/20260102_000000/vis_data/scalars.json', second)
    return tmp_path / 'run'


def test_resumed_run_is_joined(work_dir):
    run = read_run(work_dir)
    assert run.name == 'run'
    assert [(row['step'], row['loss']) for row in run.train] == [(1, 9), (2, 8), (3, 7), (4, 6)]
    assert [(row['step'], row['coco/bbox_mAP']) for row in run.val] == [(1, 0.1), (2, 0.2)]
    assert [(row['step'], row['epoch/mean_loss']) for row in run.epochs] == [(1, 8.5), (2, 6.5)]


def test_run_started_anew_replaces_the_older_one(work_dir):
    write(work_dir / '20260103_000000/vis_data/scalars.json', [train_row(1, 5.0)])
    run = read_run(work_dir)
    assert [row['loss'] for row in run.train] == [5.0] and run.val == [] and run.epochs == []


def test_a_training_without_epochs_is_validated_at_iterations(tmp_path):
    """mmengine logs epoch 0 for each validation. Killed after iteration 6, and resumed from iteration 4."""

    def row(step, loss):
        return {key: value for key, value in train_row(step, loss).items() if key != 'epoch'}

    first = [row(2, 8.0), val_row(0, 0.1), row(3, 7.0), row(4, 6.0), val_row(0, 0.2), row(6, 99.0), val_row(0, 0.9)]
    second = [row(5, 5.0), row(6, 3.0), {'epoch/mean_loss': 6.0, 'step': 1}, val_row(0, 0.3)]
    write(tmp_path / 'run/20260101_000000/vis_data/scalars.json', first)
    write(tmp_path / 'run/20260102_000000/vis_data/scalars.json', second)
    run = read_run(tmp_path / 'run')
    assert not run.by_epoch and [row['step'] for row in run.train] == [2, 3, 4, 5, 6]
    assert [(row['step'], row['coco/bbox_mAP']) for row in run.val] == [(2, 0.1), (4, 0.2), (6, 0.3)]
    assert run.epochs == [] and run.last_epoch_loss('loss') == 4.0


def test_losses_start_with_the_total(work_dir):
    assert read_run(work_dir).losses() == ['loss', 'loss_cls']


def test_file_instead_of_work_dir(work_dir):
    run = read_run(work_dir / '20260102_000000/vis_data/scalars.json', name='second')
    assert run.name == 'second' and [row['step'] for row in run.train] == [3, 4]


def test_truncated_last_line_is_skipped(tmp_path):
    write(tmp_path / 'scalars.json', [train_row(1, 5.0)], tail='\n{"loss": 4.')
    run = read_run(tmp_path / 'scalars.json')
    assert len(run.train) == 1
    assert run.notes == (f'the last line of {tmp_path / "scalars.json"} is truncated and was skipped',)


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(InputError, match='nowhere is neither a work dir nor a scalars.json'):
        read_run(tmp_path / 'nowhere')
    with pytest.raises(InputError, match='was anything trained there'):
        read_run(tmp_path)
    write(tmp_path / 'a.json', [val_row(1, 0.1)])
    with pytest.raises(InputError, match='has logged no training iteration'):
        read_run(tmp_path / 'a.json')
    (tmp_path / 'b.json').write_text('<html>\n</html>')
    with pytest.raises(InputError, match='line 1 is not JSON'):
        read_run(tmp_path / 'b.json')
    (tmp_path / 'c.json').write_text('[1, 2]')
    with pytest.raises(InputError, match='line 1 is not a JSON object'):
        read_run(tmp_path / 'c.json')


def test_record_seed_and_predictions(work_dir):
    run = read_run(work_dir)
    assert run.seed is None and run.predictions('bbox') is None and run.memory_mib() is None
    (work_dir / 'predictions').mkdir()
    (work_dir / 'predictions/epoch_2.bbox.json').write_text('[]')
    (work_dir / 'run.json').write_text(json.dumps(dict(seed=3, memory_mib=700)))
    run = read_run(work_dir)
    assert run.seed == 3 and run.memory_mib() == 700
    assert run.predictions('bbox').name == 'epoch_2.bbox.json' and run.predictions('segm') is None
    named = work_dir.rename(work_dir.parent / 'seed_7')
    (named / 'run.json').unlink()
    assert read_run(named).seed == 7


def test_corrupt_record(work_dir):
    (work_dir / 'run.json').write_text('{"seed": ')
    with pytest.raises(InputError, match='run.json is not the record of a run'):
        read_run(work_dir)


@pytest.mark.parametrize(
    'content',
    [
        '[]',
        'null',
        '{"seed": null}',
        '{"seed": "abc"}',
        '{"data": 3}',
        '{"config": []}',
        pytest.param('[' * 100_000, id='deep'),
    ],
)
def test_a_record_of_something_else(work_dir, content):
    (work_dir / 'run.json').write_text(content)
    with pytest.raises(InputError, match='run.json is not the record of a run'):
        read_run(work_dir)


@pytest.mark.parametrize(
    'line',
    [
        b'{"loss": "low", "step": 1}',
        b'{"loss": {}, "step": 1}',
        b'{"loss": 1.0, "loss_cls": null, "step": 1}',
        b'{"loss": 1.0}',
        b'{"loss": 1.0, "step": "1"}',
        b'{"loss": 1.0, "step": 1, "epoch": [1]}',
        pytest.param(b'[' * 100_000 + b'\n{}', id='deep'),
        b'\xff\xfe',
    ],
)
def test_a_log_of_something_else(tmp_path, line):
    (tmp_path / 'a.json').write_bytes(line)
    with pytest.raises(InputError, match='a.json is not a log of scalars: '):
        read_run(tmp_path / 'a.json')


def test_metrics_that_are_no_numbers_are_ignored(tmp_path):
    write(tmp_path / 'a.json', [train_row(1, 1.0), val_row(1, 0.1) | {'x/table': '0.1 0.2', 'x/list': [1]}])
    assert read_run(tmp_path / 'a.json').val == [val_row(1, 0.1)]


def test_where_a_loss_stops_being_finite(work_dir):
    assert read_run(work_dir).diverged() is None
    log = work_dir / '20260102_000000/vis_data/scalars.json'
    log.write_text(log.read_text().replace('"loss": 6', '"loss": NaN'))
    assert read_run(work_dir).diverged() == 'loss not finite from iteration 4 on'
