import statistics

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_epoch_loss_is_the_mean_of_its_iterations(train, read_rows):
    runner = train('demo_baseline.py', **{'train_cfg.max_epochs': 2, 'train_dataloader.dataset.indices': 12})
    rows = read_rows(runner)
    epochs = [row for row in rows if 'epoch/mean_loss' in row]
    assert [row['step'] for row in epochs] == [1, 2]
    for epoch in epochs:
        iterations = [row for row in rows if row.get('epoch') == epoch['step']]
        assert len(iterations) == 3
        for loss in ('loss', 'loss_rpn_cls', 'loss_mask'):
            mean = statistics.fmean(row[loss] for row in iterations)
            assert epoch[f'epoch/mean_{loss}'] == pytest.approx(mean)

    events = EventAccumulator(f'{runner.log_dir}/vis_data').Reload()
    logged = events.Scalars('epoch/mean_loss')
    assert [event.step for event in logged] == [1, 2]
    assert logged[1].value == pytest.approx(epochs[1]['epoch/mean_loss'])


def test_without_epochs_nothing_is_logged(train, read_rows):
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    runner = train('demo_baseline.py', train_cfg=loop, **{'log_processor.by_epoch': False})
    assert not any('epoch/mean_loss' in row for row in read_rows(runner))
