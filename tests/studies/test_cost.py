import json

import pytest

from fnoise_mmdet.config import load_config, use_data_root
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.cost import Cost, Estimate, measured_step, study_cost

FULL = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
SCALES = [0, 0.1, 0.2, 0.3, 0.5]
STEP = Estimate(0.5, 'my notes')


@pytest.fixture(scope='module')
def full() -> Cost:
    return study_cost(load_config(FULL), SCALES, 5)


def test_cost_of_a_full_study(full):
    assert full.steps.value == 12 * 117266 / 2 and full.trainings.value == 25
    assert (full.validations.value, full.val_images.value, full.checkpoints.value) == (12, 5000, 12)
    assert 'published' in full.step_seconds.source
    # of 44.4 million parameters stem and first stage are frozen; SGD keeps a momentum of the others
    assert full.checkpoint_bytes.value == pytest.approx(4 * (44396336 + 44170992), rel=0.001)


def test_time_and_disk():
    """Six trainings of 100 steps, and 5 validations of 20 images."""
    figures = [6, 100, 36, 5, 20, 9, 200e6, 10]
    cost = Cost(*(Estimate(value, '') for value in figures))
    assert cost.training_seconds == 100 * 36 + 5 * 20 * 9
    assert [cost.seconds(gpus) / 4500 for gpus in (1, 4, 6, 64)] == [6, 2, 1, 1]
    assert cost.disk_bytes == 6 * (10 * 200e6 + 20 * 100 * 1000)
    text = '\n'.join(table.markdown() for table in cost.tables([4, 1]))
    assert '| GPU time per training | 1.2 h |' in text and '| disk | 12 GB |' in text
    assert text.index('| 1 | 7 h 30 min |') < text.index('| 4 | 2 h 30 min |')


def test_page_has_the_tables_of_its_command(root, full):
    page = (root / 'docs/cost.md').read_text(encoding='utf-8')
    assert f'tools/plan.py {FULL} --scale 0 0.1 0.2 0.3 0.5 --num-seeds 5 --gpus 1 8 64 --into' in page
    for table in full.tables([1, 8, 64]):
        assert table.markdown() in page


@pytest.mark.parametrize(
    'option, value',
    [
        ('train_dataloader.batch_size', 4),
        ('model.backbone.depth', 101),
        ('optim_wrapper.type', 'AmpOptimWrapper'),
        ('train_dataloader.dataset.pipeline.2.scale', (640, 400)),
    ],
)
def test_published_time_is_of_its_config_only(option, value):
    with pytest.raises(InputError, match='no published time of a step fits .*benchmark.py step .*--benchmark'):
        study_cost(load_config(FULL, {option: value}), [0], 1)


def test_published_time_holds_with_noise(root):
    assert study_cost(load_config(str(root / 'configs/fnoise.py')), [0], 1, images=9, val_images=9)


def test_images_are_counted(root, shapes):
    cfg = load_config(str(root / 'configs/demo_baseline.py'))
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    cost = study_cost(cfg, [0, 0.3], 3, STEP)
    assert cost.steps.value == 4 * 16 / 4 and 'counted in instances_train.json' in cost.steps.source
    assert cost.val_images.value == 4
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset)
    assert study_cost(cfg, [0], 1, STEP).steps.value == 3 * cost.steps.value
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.train_dataloader.dataset] * 2)
    assert study_cost(cfg, [0], 1, STEP).steps.value == 6 * cost.steps.value


def test_unknown_numbers_of_images_are_asked_for(root):
    cfg = load_config(str(root / 'configs/baseline.py'), {'train_dataloader.dataset.data_root': 'nowhere/'})
    with pytest.raises(InputError, match='not found: pass the number of images with --images'):
        study_cost(cfg, [0], 1, val_images=20)
    cfg.val_dataloader.dataset.data_root = 'nowhere/'
    with pytest.raises(InputError, match='with --val-images'):
        study_cost(cfg, [0], 1, images=100)
    with pytest.raises(InputError, match='with --images; .* with --val-images'):
        study_cost(cfg, [0], 1)
    assert study_cost(cfg, [0], 1, images=100, val_images=20).steps.value == 10 * 50
    cfg.train_dataloader.dataset = dict(type='ClassBalancedDataset', dataset=cfg.train_dataloader.dataset)
    with pytest.raises(InputError, match='ClassBalancedDataset .* pass --images'):
        study_cost(cfg, [0], 1, val_images=20)


def test_iterations_and_checkpoints():
    cfg = load_config(FULL)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=900, val_interval=300)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=4)
    cost = study_cost(cfg, [0], 1)
    assert (cost.steps.value, cost.validations.value, cost.checkpoints.value) == (900 * 8, 3, 4)  # 16 images of 2
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    assert study_cost(cfg, [0], 1).checkpoints.value == 9


@pytest.mark.parametrize(
    'key, message',
    [
        ('batch_size', 'has no batch_size'),
        ('max_epochs', 'neither max_epochs nor max_iters'),
        ('optim_wrapper', 'has no optim_wrapper'),
    ],
)
def test_missing_settings(key, message):
    cfg = load_config(FULL)
    for place in (cfg, cfg.train_dataloader, cfg.train_cfg):
        place.pop(key, None)
    with pytest.raises(InputError, match=message):
        study_cost(cfg, [0], 1)


def test_measured_time(root, tmp_path):
    path = root / 'benchmarks/step_r50.json'
    options = {'train_dataloader.dataset.pipeline.2.scale': (512, 320)}
    results = json.loads(path.read_text())['results']
    step = measured_step(path, 'configs/baseline.py', options, 'cct')
    assert step.value == results['cct']['median'] and 'cct' in step.source
    plain = measured_step(path, 'configs/baseline.py', options, 'DSU')  # which was not measured there
    assert plain.value == results['without noise']['median'] and 'without noise' in plain.source
    with pytest.raises(InputError, match=r'measures step of configs/baseline.py with options .*use the same config'):
        measured_step(path, 'configs/baseline.py', None, 'cct')
    other = tmp_path / 'other.json'
    other.write_text('[]')
    for wrong in (other, tmp_path / 'nowhere.json', root / 'benchmarks/demo.json'):
        with pytest.raises(InputError, match='was not written by tools/dev/benchmark.py step'):
            measured_step(wrong, FULL, None, 'cct')
