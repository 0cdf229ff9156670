import pytest

from fnoise_mmdet.config import load_config
from fnoise_mmdet.errors import InputError


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('model.neck.noise.scal', 'model.neck.noise.scale'),
        ('model.nek.noise.scale', 'model.neck.noise.scale'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('optim_wraper.optimizer.lr', 'optim_wrapper.optimizer.lr'),
        ('optim_wrapper.optimizer.momentun', None),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.indizes', 'train_dataloader.dataset.indices'),
        ('train_dataloader.dataset.pipeline.2.scales', 'train_dataloader.dataset.pipeline.2.scale'),
        ('default_hooks.checkpoint.max_keep_ckpt', 'default_hooks.checkpoint.max_keep_ckpts'),
        ('custom_hooks.1.intervall', 'custom_hooks.1.interval'),
        ('randomness.sed', 'randomness.seed'),
        ('nothing_like_this', None),
        ('work_dirs', 'work_dir'),
    ],
)
def test_a_key_that_nothing_reads_is_named_with_the_nearest_right_one(root, option, nearest):
    with pytest.raises(InputError) as raised:
        load_config(str(root / 'configs/demo_fnoise.py'), {option: 1})
    assert f'{option} is not used' in str(raised.value)
    assert (f'did you mean {nearest}?' in str(raised.value)) == (nearest is not None)


@pytest.mark.parametrize(
    'option',
    [
        'model.neck.noise.scale',
        'model.neck.noise.bias',
        'model.neck.levels',
        'model.backbone.with_cp',
        'model.test_cfg.rcnn.score_thr',
        'compile.backend',
        'find_unused_parameters',
        'default_hooks.checkpoint.save_best',
        'default_hooks.checkpoint.iter_interval',
        'train_dataloader.dataset.indices',
        'train_dataloader.prefetch_factor',
        'train_cfg.val_begin',
        'val_evaluator.classwise',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.paramwise_cfg.norm_decay_mult',
        'optim_wrapper.optimizer.betas',
        'randomness.deterministic',
        'env_cfg.cudnn_benchmark',
        'auto_scale_lr.enable',
        'load_from',
        'work_dir',
        'visualizer.name',
        'log_level',
        'experiment_name',
        'log_processor.custom_cfg',
    ],
)
def test_a_key_that_is_read_passes(root, option):
    load_config(str(root / 'configs/demo_fnoise.py'), {option: None})


def test_a_variable_of_the_config_is_not_read_again(root):
    with pytest.raises(InputError, match=r'max_epochs is not used after .*, did you mean train_cfg.max_epochs\?'):
        load_config(str(root / 'configs/demo_fnoise.py'), {'max_epochs': 2})


def test_all_unknown_keys_are_named_at_once(root):
    with pytest.raises(InputError, match=r'model.nek is not used, did you mean model.neck\?; abc is not used$'):
        load_config(str(root / 'configs/demo_fnoise.py'), {'model.nek': 1, 'abc': 2})
