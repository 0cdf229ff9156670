import logging
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from fnoise_mmdet.engine.hooks import MissedValidationHook


def test_training_stopped_in_its_last_validation_is_validated_when_resumed(train, read_rows):
    """The figures are those of the validation, had it not been stopped; a training that begins validates nothing."""
    hook = dict(type='MissedValidationHook')
    whole = train('demo_baseline.py', 'whole', custom_hooks=[hook])
    checkpoint = str(Path(whole.work_dir) / 'epoch_1.pth')

    def metrics(runner):
        return [
            {name: value for name, value in row.items() if 'mAP' in name or name == 'step'}
            for row in read_rows(runner)
            if 'coco/bbox_mAP' in row
        ]

    resumed = train('demo_baseline.py', 'resumed', resume=True, load_from=checkpoint, custom_hooks=[hook])
    assert len(metrics(whole)) == 1 and metrics(resumed) == metrics(whole)


@pytest.mark.parametrize(
    'epoch, iteration, begin, interval, max_epochs, due',
    [
        (0, 0, 1, 1, 9, 0),
        (2, 8, 1, 1, 9, 1),
        (2, 8, 1, 5, 2, 1),
        (2, 8, 1, 5, 9, 0),
        (2, 8, 3, 1, 9, 0),
        (2, 9, 1, 1, 9, 0),  # within the third epoch, the second has been validated
    ],
)
def test_only_what_was_due_is_validated(epoch, iteration, begin, interval, max_epochs, due):
    loop = Mock(
        epoch=epoch,
        iter=iteration,
        max_epochs=max_epochs,
        val_begin=begin,
        val_interval=interval,
        dataloader=[None] * 4,
    )
    runner = SimpleNamespace(train_loop=loop, val_loop=Mock(), logger=logging.getLogger())
    MissedValidationHook().before_train(runner)
    assert runner.val_loop.run.call_count == due
