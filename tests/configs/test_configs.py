"""Every config is built and takes a training step; pairs differ in the noise alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from fnoise_mmdet import FeatureNoise, FNoiseNeck, add_fnoise, make_semi
from fnoise_mmdet.config import (
    COMPARISON_HOOKS,
    NOISE_CONFIGS,
    PUBLISHED_PLACES,
    SAFETY_HOOKS,
    config_classes,
    find_detector,
    train_from_scratch,
    without_fnoise,
)
from fnoise_mmdet.datasets import make_shapes, read_coco
from fnoise_mmdet.datasets.split import split_coco
from fnoise_mmdet.models.layers import find_noise_layers

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAMES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.py') if path.parent.name != 'semi')


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


@pytest.mark.parametrize('name', NAMES)
def test_builds_and_takes_a_step(name):
    if name.startswith('photos_'):
        pytest.importorskip('timm')
    cfg = load(name)
    init_default_scope('mmdet')
    train_from_scratch(cfg)
    if name.startswith('variants/'):  # of one detector: a smaller one is enough to run each noise
        _, detector = find_detector(cfg)
        detector['backbone'].depth = 18
        neck = detector['neck']
        neck.get('neck', neck).in_channels = [64, 128, 256, 512]
    model = MODELS.build(cfg.model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batch = demo_mm_inputs(2, [[3, 64, 96], [3, 64, 64]], with_mask=True, num_classes=5)
    data = model.data_preprocessor(batch, training=True)
    loss, logged = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    optimizer.step()
    assert loss.isfinite() and 'loss_mask' in logged
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert bool(find_noise_layers(model)) == ('baseline' not in name)


def plain(cfg: Config) -> dict[str, Any]:
    return {key: value for key, value in cfg._cfg_dict.to_dict().items() if key != 'experiment_name'}


@pytest.mark.parametrize('prefix', ['', 'demo_', 'photos_', 'semi/demo_semi_', 'semi/photos_semi_'])
def test_pair_differs_in_the_neck_alone(prefix):
    baseline, fnoise = (plain(load(f'{prefix}{name}.py')) for name in ('baseline', 'fnoise'))
    plain_neck, neck = (cfg['model'].get('detector', cfg['model']).pop('neck') for cfg in (baseline, fnoise))
    assert neck == dict(type='FNoiseNeck', neck=plain_neck, noise=dict(type='FeatureNoise', preset='cct'))
    assert fnoise == baseline


@pytest.mark.parametrize('name', ['baseline', 'fnoise'])
@pytest.mark.parametrize(('data', 'number', 'interval'), [('demo', 64, 10), ('photos', 50, 11)])
def test_semi_supervised_config_is_what_make_semi_makes(data, number, interval, name, tmp_path):
    written, cfg = load(f'semi/{data}_semi_{name}.py'), load(f'{data}_{name}.py')
    batch = cfg.train_dataloader.batch_size
    epochs = written.train_cfg.max_iters * batch // number
    labelled, unlabelled = written.train_dataloader.dataset.datasets
    root = tmp_path / labelled.data_root
    make_shapes(root, num_train=number + 6, num_val=1, num_test=1, size=64)
    file = root / 'annotations/instances_train.json'
    coco = read_coco(file)
    for category, known in zip(coco['categories'], config_classes(cfg.train_dataloader.dataset)):
        category['name'] = known
    file.write_text(json.dumps(coco))
    split_coco(file, root / 'annotations', number=number)
    cfg.train_dataloader.dataset.update(ann_file=labelled.ann_file, data_root=f'{root}/')
    cfg.train_cfg = dict(max_epochs=epochs, val_interval=interval)
    cfg.default_hooks.checkpoint.interval = interval
    cfg.param_scheduler[1].update(end=epochs, T_max=epochs)
    made = make_semi(cfg, str(root / unlabelled.ann_file))
    for dataset in made.train_dataloader.dataset.datasets:  # the paths are those of the test
        dataset.data_root = labelled.data_root
    made.train_dataloader.dataset.datasets[1].update(ann_file=unlabelled.ann_file, data_prefix=unlabelled.data_prefix)
    made.model.pop('semi_train_cfg')  # the defaults
    made.train_cfg.pop('val_begin')
    for key in ('model', 'train_dataloader', 'train_cfg', 'param_scheduler', 'default_hooks', 'custom_hooks'):
        assert plain(written)[key] == plain(made)[key], key


@pytest.mark.parametrize(('percent', 'fraction'), [(1, '0.01'), (5, '0.05'), (10, '0.1')])
def test_coco_with_few_labels_is_built_with_and_without_noise(percent, fraction):
    init_default_scope('mmdet')
    cfg = load(f'semi/mask-rcnn_r50_fpn_semi-{fraction}-coco.py')
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    split = f'semi_anns/instances_train2017.1@{percent}'
    assert (labelled.ann_file, unlabelled.ann_file) == (f'{split}.json', f'{split}-unlabeled.json')
    assert cfg.val_dataloader.dataset.pipeline[1].with_mask and labelled.pipeline[1].with_mask
    model = MODELS.build(add_fnoise(cfg).model)
    assert isinstance(model.student.neck, FNoiseNeck) and model.student.with_mask


def test_hooks_are_those_that_the_tools_add_and_the_pictures():
    names = [hook['type'] for hook in load('baseline.py').custom_hooks]
    assert [name for name in names if name != 'FeatureMapHook'] == [*COMPARISON_HOOKS, *SAFETY_HOOKS]
    for name in ('demo_baseline.py', 'photos_baseline.py'):
        assert [hook['type'] for hook in load(name).custom_hooks] == [*names, 'TrainingAPHook']


VARIANTS = [name for name in NAMES if name.startswith('variants/')]


@pytest.mark.parametrize('name', VARIANTS)
def test_variants_differ_from_fnoise_in_the_noise_alone(name):
    variant, fnoise = plain(load(name)), plain(load('fnoise.py'))
    if name == 'variants/cct_ramp.py':
        assert variant.pop('custom_hooks')[:-1] == fnoise.pop('custom_hooks')
    assert without_fnoise(variant.pop('model')) == without_fnoise(fnoise.pop('model'))
    assert variant == fnoise


@pytest.mark.parametrize('noise', NOISE_CONFIGS)
def test_every_noise_has_a_variant_in_the_place_it_was_published_for(noise):
    wanted = plain(add_fnoise(load('baseline.py'), NOISE_CONFIGS[noise], **PUBLISHED_PLACES.get(noise, {})))['model']
    assert [name for name in [*VARIANTS, 'fnoise.py'] if plain(load(name))['model'] == wanted]


@pytest.mark.parametrize('name', ['baseline.py', 'demo_baseline.py'])
def test_warm_up_ends_within_the_first_epoch(name):
    cfg = load(name)
    images = 88 if name == 'baseline.py' else 640
    warm_up = cfg.param_scheduler[0]
    assert not warm_up.by_epoch and 0 < warm_up.end < images / cfg.train_dataloader.batch_size


def test_published_weights_fit_the_fnoise_config():
    """A checkpoint of mmdet's own config loads strictly into ours with F-Noise, and back."""
    init_default_scope('mmdet')
    cfgs = [get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'), load('fnoise.py')]
    models = [MODELS.build(cfg.model) for cfg in cfgs]
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    models[0].load_state_dict(models[1].state_dict(), strict=True)
    assert list(models[0].state_dict()) == list(models[1].state_dict())


def test_the_readme_s_shortest_difference(tmp_path):
    """The three lines that the README gives for one's own config."""
    readme = (CONFIGS.parent / 'README.md').read_text(encoding='utf-8')
    text = readme.split("_base_ = 'my_config.py'")[1].split('```')[0]
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(CONFIGS / "baseline.py")!r}{text}')
    cfg = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope('mmdet')
    neck = MODELS.build(cfg.model.neck)
    assert isinstance(neck, FNoiseNeck) and type(neck.neck).__name__ == 'FPN'
    assert repr(neck.noise) == repr(FeatureNoise('cct'))


def test_names_of_configs_differ_and_so_do_their_work_dirs():
    names = [path.name for path in CONFIGS.rglob('*.py')]
    assert len(set(names)) == len(names)
