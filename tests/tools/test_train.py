import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fnoise_mmdet.comparison import read_run
from fnoise_mmdet.config import load_config
from fnoise_mmdet.engine.resume import locked


@pytest.fixture
def losses(tool, shapes, tmp_path, small):
    """Train a demo config for two iterations and give every logged loss."""

    def train(name, config, *options):
        tool(
            'train', f'configs/{config}.py', '--data-root', shapes, '--work-dir', tmp_path / name,
            '--cfg-options', *small, 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=8', 'custom_hooks=[]',
            *options,
        )  # fmt: skip
        return [{key: row[key] for key in row if 'loss' in key} for row in read_run(tmp_path / name).train]

    return train


def test_a_run_leaves_what_the_readme_lists(runs):
    for work_dir in (runs.baseline, runs.fnoise):
        assert (work_dir / f'{work_dir.name}.py').is_file()
        assert (work_dir / 'epoch_2.pth').is_file() and not (work_dir / 'epoch_1.pth').exists()
        (vis_data,) = work_dir.glob('*/vis_data')
        assert (vis_data / 'scalars.json').is_file() and list(vis_data.glob('events.out.tfevents.*'))
        names = {path.name for path in (vis_data / 'vis_image').iterdir()}
        assert {'feature_maps_val_1_1.png', 'feature_maps_val_2_2.png'} <= names
    assert len(read_run(runs.baseline).train) == 8
    assert Config.fromfile(runs.fnoise / 'demo_fnoise.py').model.neck.type == 'FNoiseNeck'


@pytest.mark.slow
def test_scale_zero_is_the_baseline_to_the_last_bit_and_scale_changes_the_noise(losses):
    baseline = losses('baseline', 'demo_baseline')
    assert len(baseline) == 2
    assert losses('zero', 'demo_fnoise', 'model.neck.noise.scale=0') == baseline
    weak, strong = (losses(scale, 'demo_fnoise', f'model.neck.noise.scale={scale}') for scale in ('0.1', '0.3'))
    assert weak != baseline and strong != weak
    assert losses('again', 'demo_fnoise', 'model.neck.noise.scale=0.1') == weak


@pytest.mark.slow
def test_run_is_not_overwritten_but_resumed(tool, runs, shapes, small, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in runs.baseline.rglob('*')}
    common = ['train', 'configs/demo_baseline.py', '--data-root', shapes]
    result = tool(*common, '--work-dir', runs.baseline, '--cfg-options', *small, status=2)
    small = [*small, 'custom_hooks=[]']
    assert 'continue it with --resume' in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in runs.baseline.rglob('*')}

    run = tmp_path / 'run'
    tool(*common, '--work-dir', run, '--cfg-options', *small, 'train_cfg.max_epochs=1')
    tool(*common, '--work-dir', run, '--resume', '--cfg-options', *small)
    assert [row['epoch'] for row in read_run(run).train] == [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--data-root', 'nowhere'], 'data root nowhere is not a folder'),
        (
            ['--cfg-options', 'model.neck.noise.preset=cctt'],
            "preset must be one of ['cct', 'mean_normal', 'uniform_20', 'l2', 'channel_l2']",
        ),
        (['--cfg-options', 'model.neck.noise.magnitude=l3'], "magnitude must be one of ['element', 'channel', "),
        (['--cfg-options', 'model.neck.noise.prob=2'], 'prob must be in [0, 1], but got 2'),
        (['--fnoise', 'cct'], 'demo_fnoise.py: its model already has F-Noise'),
        (['--cfg-options', 'model.neck.levels=[9]'], 'levels must be in [-4, 3] for 4 levels, but got 9'),
        (['--cfg-options', 'model.neck.noise.scale=-1'], 'scale must be >= 0 and finite, but got -1'),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(tool, shapes, tmp_path, arguments, message):
    if '--data-root' not in arguments:
        arguments = ['--data-root', shapes, *arguments]
    result = tool('train', 'configs/demo_fnoise.py', '--work-dir', tmp_path / 'run', *arguments, status=2)
    assert result.stderr.strip().splitlines()[-1].startswith('error: ') and message in result.stderr
    assert not list(tmp_path.iterdir())


def test_unavailable_weights_are_reported_before_anything_is_written(tool, shapes, tmp_path):
    result = tool(
        'train', 'configs/fnoise.py', '--data-root', shapes, '--work-dir', tmp_path / 'run',
        '--cfg-options', 'model.backbone.init_cfg.checkpoint=http://127.0.0.1:1/resnet50.pth', status=2,
    )  # fmt: skip
    assert 'cannot be downloaded' in result.stderr and '--from-scratch' in result.stderr
    assert not list(tmp_path.iterdir())


def test_images_without_labels(tool, few_labels, small, tmp_path):
    data, unlabelled = few_labels
    labelled = data / 'annotations/instances_train.json'
    train = ['train', 'configs/demo_baseline.py', '--fnoise', '--data-root', data, '--work-dir', tmp_path / 'run']
    semi = ['--semi', unlabelled, 'cls_pseudo_thr=0.0', 'ramp_up.schedule=constant']
    tool(*train, *semi, '--cfg-options', *small, 'custom_hooks.1.images=0')
    run = read_run(tmp_path / 'run')
    assert len(run.train) == 4, 'iterations of two epochs of labelled images'
    expected_losses = {'sup_loss_mask', 'feature_loss_mask', 'pseudo_labels', 'labelled_share'}
    assert all(expected_losses <= row.keys() for row in run.train)
    expected = {'coco/bbox_mAP', 'student_bbox_mAP', 'student_segm_mAP', 'pseudo_recall', 'pseudo_precision'}
    assert len(run.val) == 2 and all(expected <= row.keys() for row in run.val)
    weights = torch.load(tmp_path / 'run/iter_4.pth', weights_only=False)['state_dict']
    assert {name.partition('.')[0] for name in weights} == {'student', 'teacher'}
    assert any(
        not torch.equal(weights[name], weights[f'teacher.{name[8:]}']) for name in weights if name[:8] == 'student.'
    )
    checkpoint = tmp_path / 'run/iter_4.pth'
    refused = tool('publish_model', checkpoint, tmp_path / 'plain.pth', status=2)
    assert 'has a student and a teacher: choose one with --part' in refused.stderr
    for part in ('teacher', 'student'):
        plain = tmp_path / f'{part}.pth'
        tool('publish_model', checkpoint, plain, '--part', part)
        published = torch.load(plain, weights_only=True)['state_dict']
        assert all(torch.equal(weight, weights[f'{part}.{name}']) for name, weight in published.items())
        assert 2 * len(published) == len(weights)
    # A plain checkpoint in: for a plain detector, and as the start of student and teacher.
    options = ['--data-root', data, '--cfg-options', *small]
    tool('test', 'configs/demo_baseline.py', plain, '--work-dir', tmp_path / 'test', *options)
    again = [*train[:-1], tmp_path / 'again', *semi, '--cfg-options', *small, 'custom_hooks=[]']
    tool(*again, f'load_from={plain}', 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=1e-9')
    started = torch.load(tmp_path / 'again/iter_2.pth', weights_only=False)['state_dict']
    name = 'backbone.conv1.weight'
    for part in ('teacher', 'student'):
        assert torch.allclose(started[f'{part}.{name}'], published[name], atol=1e-6)
    assert 'already exists' in tool('publish_model', checkpoint, plain, '--part', 'student', status=2).stderr
    strong = [*train[:-1], tmp_path / 'strong', *semi, 'strong_view=True']
    by_parameter = 'optim_wrapper.paramwise_cfg.norm_decay_mult=0'  # for which mmengine looks at each
    log = tool(*strong, '--cfg-options', *small, 'custom_hooks=[]', 'train_cfg.max_epochs=1', by_parameter).stdout
    assert 'teacher.' not in log.partition('Iter(train)')[0].rpartition('work_dir = ')[2]
    assert all({*expected_losses, 'unsup_loss_mask'} <= row.keys() for row in read_run(tmp_path / 'strong').train)
    refused = tool(*train, '--semi', labelled, '--cfg-options', *small, status=2)
    assert '8 images of ' in refused.stderr and 'are labelled in' in refused.stderr
    refused = tool(*train, '--semi', unlabelled, 'view=2', '--cfg-options', *small, status=2)
    assert 'has no setting view, but sup_weight' in refused.stderr
    refused = tool(*train, '--semi', unlabelled, 'processes=2', '--cfg-options', *small, status=2)
    assert 'the number of processes is that of --launcher' in refused.stderr
    refused = tool(*train, '--semi', unlabelled, 'views', '--cfg-options', *small, status=2)
    assert f"settings after {unlabelled} must be KEY=VALUE, but got 'views'" in refused.stderr


@pytest.mark.long
def test_compiled_training_has_the_losses_of_the_plain_one(losses):
    plain = losses('plain', 'demo_fnoise')
    compiled = losses('compiled', 'demo_fnoise', 'compile.backend=aot_eager')
    assert len(plain) == 2 and [row.keys() for row in plain] == [row.keys() for row in compiled]
    for row, other in zip(plain, compiled):
        assert row == pytest.approx(other, rel=1e-4)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 420 MiB, which has room for two checkpoints."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=420m', 'tmpfs', folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f'no file system can be mounted here: {mount.stderr.strip()}')
    yield folder
    subprocess.run(['umount', '--lazy', folder], check=True)


# Not even a line of the log can be written, or no checkpoint.
@pytest.mark.parametrize(
    'left', [pytest.param(0, marks=pytest.mark.long), pytest.param(40 * 2**20, marks=pytest.mark.slow)]
)
def test_full_disk_stops_a_training_that_can_be_resumed(tool, shapes, small, small_disk, left):
    work_dir, filler = small_disk / 'run', small_disk / 'filler'
    command = ['train', 'configs/demo_fnoise.py', '--data-root', shapes, '--work-dir', work_dir]
    options = [
        '--cfg-options',
        *small,
        'default_hooks.checkpoint.interval=1',
        'default_hooks.checkpoint.max_keep_ckpts=1',
    ]

    def fill():
        while not (work_dir / 'epoch_1.pth').exists():
            time.sleep(0.001)
        with filler.open('wb') as file:
            while (room := shutil.disk_usage(small_disk).free - left) > 0:
                with contextlib.suppress(OSError):  # the training took some of it meanwhile
                    os.posix_fallocate(file.fileno(), file.tell(), room)
                    file.seek(room, os.SEEK_CUR)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    stopped = tool(*command, *options, status=1)
    thread.join()
    assert f'no space left on the disk of {work_dir}' in stopped.stderr
    assert f'the last good checkpoint is {work_dir}/epoch_1.pth; resume from it with --resume' in stopped.stderr
    assert sorted(path.name for path in work_dir.glob('*.pth*')) == ['epoch_1.pth']
    filler.unlink()
    tool(*command, '--resume', *options)
    assert [path.name for path in work_dir.glob('*.pth*')] == ['epoch_2.pth']
    assert [row['step'] for row in read_run(work_dir).train] == list(range(1, 9))


@pytest.mark.slow
def test_resnet_50_from_scratch_trains_and_validates(tool, shapes, tmp_path):
    tool(
        'train', 'configs/fnoise.py', '--data-root', shapes, '--work-dir', tmp_path / 'run', '--from-scratch',
        '--cfg-options', 'train_dataloader.dataset.pipeline.2.scale=(64,64)', 'train_dataloader.dataset.indices=4',
        'val_dataloader.dataset.pipeline.1.scale=(64,64)', 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1',
        'default_hooks.checkpoint.interval=99',
    )  # fmt: skip
    run = read_run(tmp_path / 'run')
    assert len(run.train) == 2 and 'coco/segm_mAP' in run.val[0]
    dumped = Config.fromfile(tmp_path / 'run/fnoise.py')
    assert dumped.model.backbone.init_cfg is None and dumped.model.backbone.frozen_stages == -1
    assert dumped.model.roi_head.bbox_head.num_classes == 5


def test_fnoise_in_a_config_that_mmdet_ships(tool, shapes, tmp_path):
    config = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    work_dir = tmp_path / 'run'
    said = tool(
        'train', config, '--fnoise', '--pictures', '--data-root', shapes, '--work-dir', work_dir, '--from-scratch',
        '--cfg-options', 'model.neck.noise.scale=0.2', 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=8', 'train_dataloader.dataset.pipeline.2.scale=(64,64)',
        'val_dataloader.dataset.pipeline.1.scale=(64,64)',
    ).stdout  # fmt: skip
    rows = read_run(work_dir).train
    assert [row['iter'] for row in rows] == [1, 2]
    # Shorter than the intervals of both hooks: the last iteration is measured and drawn.
    assert 'snr_db_0' in rows[1] and 'snr_db_0' not in rows[0]
    (panel,) = work_dir.glob('*/vis_data/vis_image/feature_maps_train_2.png')
    assert re.search(r'^validation  box AP 0\.\d{3}$', said, re.MULTILINE)
    assert f'pictures    {panel.parent} (3)' in said and f'tools/infer.py {config} {work_dir}/epoch_1.pth' in said
    dumped = Config.fromfile(work_dir / 'retinanet_r18_fpn_1x_coco.py')
    assert dumped.model.neck.noise == dict(type='FeatureNoise', preset='cct', scale=0.2)
    assert dumped.custom_imports.imports == ['fnoise_mmdet']

    # The checkpoint is the plain detector's.
    init_default_scope('mmdet')
    plain = load_config(config)
    plain.model.bbox_head.num_classes = 5
    weights = torch.load(work_dir / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    MODELS.build(plain.model).load_state_dict(weights, strict=True)


def test_help_teaches(tool):
    text = tool('train', '--help').stdout
    for word in (
        '--from-scratch',
        '--data-root',
        '--resume',
        '--amp',
        '--launcher',
        'model.neck.noise.scale=0.1',
        '--fnoise',
    ):
        assert word in text


def test_logs_are_json(runs):
    (log,) = runs.baseline.glob('*/vis_data/scalars.json')
    assert all(json.loads(line) for line in log.read_text().splitlines())


def test_two_trainings_in_one_work_dir_are_refused(tool, shapes, tmp_path):
    with locked(tmp_path / 'run'):
        result = tool(
            'train', 'configs/demo_fnoise.py', '--data-root', shapes, '--work-dir', tmp_path / 'run', status=2
        )
    assert 'another process is using' in result.stderr
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['.lock']


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tool, shapes, small, tmp_path):
    arguments = ['train', 'configs/demo_fnoise.py', '--data-root', shapes, '--work-dir', tmp_path / 'run']
    options = [*small, 'optim_wrapper.optimizer.lr=1e30', 'param_scheduler=[]', 'model.neck.check_finite=False']
    result = tool(*arguments, '--cfg-options', *options, status=1)
    assert re.search(r'error: in iteration \d \(epoch 1\) loss_\w+.* is -?(nan|inf)', result.stderr)
    assert result.stderr.rstrip().endswith('no checkpoint was saved yet')


def test_an_image_that_cannot_be_read_is_named_without_a_stack_trace(tool, shapes, small, tmp_path):
    """It is one of those that are not decoded before the training, so that a worker comes upon it."""
    data = shutil.copytree(shapes, tmp_path / 'data')
    path = data / 'annotations/instances_train.json'
    coco = json.loads(path.read_text())
    for copy in range(100, 300, 100):
        coco['images'] += [image | dict(id=image['id'] + copy) for image in coco['images'][:16]]
    broken = coco['images'][1]
    broken['file_name'] = 'broken.png'
    (data / 'train/broken.png').write_bytes((data / 'train/000001.png').read_bytes()[:-40])
    path.write_text(json.dumps(coco))
    arguments = ['train', 'configs/demo_fnoise.py', '--data-root', data, '--work-dir', tmp_path / 'run']
    result = tool(*arguments, '--cfg-options', *small, 'train_dataloader.num_workers=2', status=2)
    assert re.search(
        r'error: image .*broken.png cannot be used, it is not a complete image: .*: replace it', result.stderr
    )
