import pytest

from fnoise_mmdet.engine.preflight import (
    check_training,
    describe_training,
)
from fnoise_mmdet.errors import InputError


def test_good_config_passes_and_nothing_is_written(cfg, tmp_path):
    check_training(cfg)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        ('optim_wrapper.optimizer.type', 'Nope', 'optim_wrapper cannot be used: '),
        ('optim_wrapper.optimizer.lr', -1, 'optim_wrapper cannot be used: ValueError: .*Invalid learning rate: -1'),
        ('optim_wrapper.optimizer.lr', 'abc', 'optim_wrapper cannot be used: '),
        ('optim_wrapper', dict(type='OptimWrapper'), 'optim_wrapper cannot be used: .*no optimizer'),
        ('optim_wrapper', 'abc', "optim_wrapper must be a dict, but is 'abc'"),
        ('param_scheduler.0.type', 'Nope', 'param_scheduler Nope: '),
        ('train_dataloader.dataset.pipeline.2.type', 'Nope', 'train_dataloader.dataset, step 2 of the pipeline '),
        ('train_dataloader.sampler.type', 'Nope', 'train_dataloader.sampler cannot be used: .*Nope is not in'),
        ('train_dataloader.batch_size', 0, 'train_dataloader.batch_size must be >= 1, but is 0'),
        ('train_dataloader.batch_size', 'abc', "train_dataloader.batch_size must be an integer, but is 'abc'"),
        ('train_dataloader.dataset', None, 'a data set of the config must be a dict, but is None'),
        (
            'train_dataloader.dataset',
            dict(type='ConcatDataset', datasets=[]),
            'ConcatDataset of the config has no data sets',
        ),
        ('val_evaluator.metric', 'foo', 'val_evaluator cannot be used: .*foo'),
        ('val_evaluator', None, 'val_evaluator is missing: set all of val_dataloader, val_cfg, val_evaluator'),
        ('randomness.seed', 'abc', "randomness.seed must be an integer from 0 to .*, but is 'abc'"),
        ('train_cfg.val_interval', 'abc', "train_cfg.val_interval must be an integer, but is 'abc'"),
        ('train_cfg.max_epochs', 0, 'train_cfg.max_epochs must be >= 1, but is 0'),
        ('train_cfg.max_epochs', -3, 'train_cfg.max_epochs must be >= 1, but is -3'),
        ('train_cfg.max_epochs', 'abc', "train_cfg.max_epochs must be an integer, but is 'abc'"),
        ('train_cfg', 'abc', "train_cfg must be a dict, but is 'abc'"),
        ('default_hooks.logger.type', 'Nope', 'default_hooks.logger cannot be used: .*Nope'),
        ('default_hooks.checkpoint', 'abc', 'default_hooks.checkpoint cannot be used: '),
    ],
)
def test_settings_that_cannot_be_used_are_named_before_the_training(cfg, tmp_path, place, value, message):
    *path, name = place.split('.')
    node = cfg
    for part in path:
        node = node[int(part)] if part.isdecimal() else node[part]
    node[name] = value
    with pytest.raises(InputError, match=message):
        check_training(cfg)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_all_findings_are_reported_at_once(cfg, data):
    (data / 'train/000007.png').unlink()
    cfg.merge_from_dict({'model.neck.noise.preset': 'cctt', 'custom_hooks.1.interval': 0})
    cfg.val_evaluator.ann_file = 'nowhere.json'
    with pytest.raises(InputError) as raised:
        check_training(cfg)
    first, *findings = str(raised.value).splitlines()
    assert first == 'several problems were found' and len(findings) == 3
    for finding, part in zip(findings, ['1 of 16 images are missing', 'nowhere.json', "but got 'cctt'"]):
        assert finding.startswith('- ') and part in finding


def test_what_would_run_is_described(cfg):
    text = describe_training(cfg)
    for part in (
        'MaskRCNN, ',
        'scale=0.3',
        'on levels all, pre',
        '16 images',
        'max_epochs 4',
        'AdamW, learning rate 0.002',
    ):
        assert part in text
