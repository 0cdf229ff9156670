import logging
from types import SimpleNamespace

import pytest

from fnoise_mmdet.engine.hooks import OwnCheckpointsHook


@pytest.fixture
def work_dir(tmp_path):
    (tmp_path / 'run/best_folder.pth').mkdir(parents=True)
    (tmp_path / 'other').mkdir()
    for name in ('run/best_loss_epoch_1.pth', 'run/epoch_1.pth', 'other/best_loss_epoch_1.pth', 'thesis.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'run/best_link.pth').symlink_to('../thesis.txt')
    return tmp_path / 'run'


@pytest.mark.parametrize(
    ('name', 'stays'),
    [
        ('best_loss_epoch_1.pth', True),
        ('epoch_1.pth', False),
        ('best_folder.pth', False),
        ('best_link.pth', False),
        ('best_missing.pth', False),
        ('../other/best_loss_epoch_1.pth', False),
        ('../thesis.txt', False),
        ('..', False),
        ('\0', False),
    ],
)
@pytest.mark.parametrize('key', ['best_ckpt', 'best_ckpt_val_loss'])
def test_only_best_checkpoints_of_the_run_are_kept_for_removal(work_dir, name, stays, key):
    info = {key: f'{work_dir}/{name}', 'best_score': 0.5}
    runner = SimpleNamespace(
        work_dir=str(work_dir), message_hub=SimpleNamespace(runtime_info=info), logger=logging.getLogger()
    )
    OwnCheckpointsHook().before_train(runner)
    assert (key in info) == stays and info['best_score'] == 0.5


def test_no_best_checkpoint_is_fine(work_dir):
    runner = SimpleNamespace(
        work_dir=str(work_dir), message_hub=SimpleNamespace(runtime_info={}), logger=logging.getLogger()
    )
    OwnCheckpointsHook().before_train(runner)
