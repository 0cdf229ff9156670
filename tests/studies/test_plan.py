import json

import pytest

from fnoise_mmdet.config import load_config, use_data_root
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies import cost
from fnoise_mmdet.studies.plan import SOURCES, describe_study, measured_step, published_step

FULL = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
SCALES = [0, 0.1, 0.2, 0.3, 0.5]
STEP = cost.Estimate(0.5, 's', cost.GIVEN, 'my notes')


@pytest.fixture(scope='module')
def full():
    return describe_study(load_config(FULL), SCALES, 5)


def test_a_full_study(full):
    assert full.steps == 12 * 7330  # 117266 images, 8 GPUs of 2
    assert full.trainings == 25 and full.processes == 8 and full.by_epoch
    assert (full.validations.value, full.val_images.value, full.checkpoints.value) == (12, 5000, 12)
    assert full.step_seconds.kind == cost.PUBLISHED and full.val_seconds.value == 0.06211
    # of 44.4 million parameters stem and first stage are frozen; SGD keeps a momentum of the others
    assert full.gradient_bytes.value == 4 * 44170992
    assert full.checkpoint_bytes.value - full.gradient_bytes.value == pytest.approx(4 * 44396336, rel=0.002)


def test_every_source_is_cited_and_has_its_address(full):
    assert cost.cited_sources(full, [8], SOURCES) == SOURCES
    assert all(text.startswith('https://') for text in SOURCES.values())
    cited = [
        one.source for rows in cost.figures(full, [8]).values() for one in rows.values() if one.kind == cost.PUBLISHED
    ]
    assert all(any(name in text for name in SOURCES) for text in cited)


def test_the_page_on_cost_has_the_tables_of_its_command(root, full):
    page = (root / 'docs/cost.md').read_text(encoding='utf-8')
    assert f'tools/plan.py {FULL} --scale 0 0.1 0.2 0.3 0.5 --num-seeds 5 --gpus 1 8 64 --into' in page
    assert cost.cost_tables(full, [1, 8, 64], SOURCES) in page


def test_a_published_time_is_for_its_config_alone(root):
    assert published_step(load_config(str(root / 'configs/fnoise.py'), fnoise=None))
    for options in (
        {'train_dataloader.batch_size': 4},
        {'model.backbone.depth': 101},
        {'optim_wrapper.type': 'AmpOptimWrapper'},
        {'train_dataloader.dataset.pipeline.2.scale': (640, 400)},
    ):
        assert published_step(load_config(FULL, options)) is None
    with pytest.raises(InputError, match='no published time of a step fits .*benchmark.py step .*--benchmark'):
        describe_study(load_config(FULL, {'train_dataloader.batch_size': 4}), [0], 1)


def test_images_are_counted_where_they_are(root, shapes):
    cfg = load_config(str(root / 'configs/demo_baseline.py'))
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    study = describe_study(cfg, [0, 0.3], 3, STEP)
    # 16 images of 64 pixels in batches of 4; mmdet leaves out what shows nothing
    assert study.train_images.value <= 16 and study.train_images.kind == cost.MEASURED
    assert study.val_images.value == 4 and study.processes == 1 and study.data_bytes is None
    assert study.val_seconds.kind == cost.ASSUMED
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset)
    assert describe_study(cfg, [0], 1, STEP).train_images.value == 3 * study.train_images.value
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.train_dataloader.dataset] * 2)
    assert describe_study(cfg, [0], 1, STEP).train_images.value == 6 * study.train_images.value


def test_images_that_are_not_there_are_asked_for(root):
    cfg = load_config(str(root / 'configs/baseline.py'), {'train_dataloader.dataset.data_root': 'nowhere/'})
    with pytest.raises(InputError, match='not there to count the images of: give their number with --images'):
        describe_study(cfg, [0], 1)
    cfg.val_dataloader.dataset.data_root = 'nowhere/'
    with pytest.raises(InputError, match='with --val-images'):
        describe_study(cfg, [0], 1, images=100)
    study = describe_study(cfg, [0], 1, images=100, val_images=20)
    assert study.steps == 10 * 50 and study.train_images.kind == cost.GIVEN
    cfg.train_dataloader.dataset = dict(type='ClassBalancedDataset', dataset=cfg.train_dataloader.dataset)
    with pytest.raises(InputError, match='ClassBalancedDataset .* give --images'):
        describe_study(cfg, [0], 1)


def test_iterations_and_checkpoints():
    options = {'train_cfg.type': 'IterBasedTrainLoop', 'train_cfg.max_iters': 900, 'train_cfg.val_interval': 300}
    cfg = load_config(FULL)
    cfg.train_cfg = {key.partition('.')[2]: value for key, value in options.items()}
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=4)
    study = describe_study(cfg, [0], 1)
    assert (study.steps, study.validations.value, study.checkpoints.value) == (900, 3, 4)
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    assert describe_study(cfg, [0], 1).checkpoints.value == 9


def test_settings_that_do_not_fit_are_said():
    cfg = load_config(FULL)
    cfg.auto_scale_lr.base_batch_size = 15
    with pytest.raises(InputError, match='base_batch_size 15 is no multiple'):
        describe_study(cfg, [0], 1)
    for key, message in {
        'batch_size': 'has no batch_size',
        'max_epochs': 'neither max_epochs nor max_iters',
        'optim_wrapper': 'no config of a training: it has no optim_wrapper',
    }.items():
        cfg = load_config(FULL)
        for place in (cfg, cfg.train_dataloader, cfg.train_cfg):
            place.pop(key, None)
        with pytest.raises(InputError, match=message):
            describe_study(cfg, [0], 1)


def test_a_measured_time_is_of_its_config(root, tmp_path):
    path = root / 'benchmarks/step_r50.json'
    options = {'train_dataloader.dataset.pipeline.2.scale': (512, 320)}
    results = json.loads(path.read_text())['results']
    step = measured_step(path, 'configs/baseline.py', options, 'cct')
    assert step.value == results['cct']['median'] and step.kind == cost.MEASURED and 'cct' in step.source
    plain = measured_step(path, 'configs/baseline.py', options, 'DSU')  # which was not measured there
    assert plain.value == results['without noise']['median'] and 'without noise' in plain.source
    with pytest.raises(InputError, match=r'measures step of configs/baseline.py with options .*give the same to both'):
        measured_step(path, 'configs/baseline.py', None, 'cct')
    other = tmp_path / 'other.json'
    other.write_text('[]')
    for wrong in (other, tmp_path / 'nowhere.json', root / 'benchmarks/demo.json'):
        with pytest.raises(InputError, match='was not written by tools/dev/benchmark.py step'):
            measured_step(wrong, FULL, None, 'cct')
