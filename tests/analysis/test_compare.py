import pytest

from fnoise_mmdet.analysis import Run, compare_runs, mismatches
from fnoise_mmdet.errors import InputError


def make_run(name, offset=0.0, epochs=2, val=True, extra=()):
    train = [
        dict(loss=10 - step + offset, loss_cls=1.0 + offset, time=step / 10, epoch=1 + (step > 3), step=step)
        for step in range(1, 3 * epochs + 1)
    ]
    for row in train:
        row.update(dict.fromkeys(extra, 1.0))
    metrics = [{'coco/bbox_mAP': 0.1 * epoch + offset, 'step': epoch} for epoch in range(1, epochs + 1)]
    return Run(name, train, metrics if val else [], [])


def test_figures():
    rows = {row.figure: row for row in compare_runs(make_run('a'), make_run('b', offset=0.5))}
    total = rows['loss, mean of the last epoch']
    assert (total.a, total.b, total.difference) == (5.0, 5.5, 0.5)  # iterations 4 to 6
    assert rows['coco/bbox_mAP'].a == pytest.approx(0.2)
    assert rows['coco/bbox_mAP'].difference == pytest.approx(0.5)
    assert rows['s/iteration, median'].a == pytest.approx(0.4)  # of 0.2 to 0.6, without the first
    assert next(iter(rows)) == 'loss, mean of the last epoch' and 'loss_cls, mean of the last epoch' in rows


def test_loss_of_the_last_epoch_is_the_logged_mean_where_there_is_one():
    run = make_run('a')._replace(epochs=[{'epoch/mean_loss': 6.1, 'step': 1}, {'epoch/mean_loss': 5.1, 'step': 2}])
    rows = {row.figure: row for row in compare_runs(run, make_run('b'))}
    assert (rows['loss, mean of the last epoch'].a, rows['loss, mean of the last epoch'].b) == (5.1, 5.0)


def test_run_without_validation():
    rows = {row.figure: row for row in compare_runs(make_run('a'), make_run('b', val=False))}
    assert rows['coco/bbox_mAP'].b is None and rows['coco/bbox_mAP'].difference is None
    assert 'coco/segm_mAP' not in rows


def test_runs_without_a_common_loss():
    other = Run('other', [dict(loss_seg=1.0, epoch=1, step=1)], [], [])
    with pytest.raises(InputError, match='a and other have no loss in common'):
        compare_runs(make_run('a'), other)


def test_mismatches_are_named():
    assert mismatches(make_run('a'), make_run('b', offset=1.0)) == []
    found = mismatches(make_run('a'), make_run('b', epochs=1, extra=['loss_mask']))
    assert found == [
        'last iteration: 6 in a, 3 in b',
        'last epoch: 2 in a, 1 in b',
        'losses: loss, loss_cls in a, loss, loss_cls, loss_mask in b',
        'validated epochs: 1, 2 in a, 1 in b',
    ]
