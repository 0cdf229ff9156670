import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fnoise_mmdet.comparison import read_run

# With these, what the training draws does not depend on how images are dealt to processes: all anchors and proposals
# are learnt from, and batch norm has no statistics of its own.
DRAWN_ALIKE = [
    'model.train_cfg.rpn.sampler.num=100000',
    'model.train_cfg.rcnn.sampler.num=100000',
    'model.backbone.norm_eval=True',
]


@pytest.fixture
def environment(root):
    """An environment for the scripts: this Python as ``python``, a port that is free, one thread a process."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    return {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'PYTHONPATH': str(root / 'tests/tools'),
        'PORT': port,
        'MASTER_PORT': port,
        'OMP_NUM_THREADS': '1',
    }


@pytest.fixture
def probed(root, shapes, small, tmp_path):
    """Return the arguments of a small training whose processes save what they saw to the folder ``name``."""

    def give(name, config, batch_size, *options):
        folder = tmp_path / name
        folder.mkdir()
        (tmp_path / f'{name}.py').write_text(
            f"_base_ = '{root / 'configs' / config}'\n"
            "custom_imports = dict(imports=['fnoise_mmdet', 'rank_probe'], allow_failed_imports=False)\n"
            f"custom_hooks = [*_base_.custom_hooks, dict(type='RankProbe', folder='{folder}')]\n"
        )
        batch = [f'train_dataloader.batch_size={batch_size}', 'train_dataloader.dataset.indices=8']
        # The hook's place in the config is as in the demo's.
        return [
            tmp_path / f'{name}.py', '--data-root', shapes, '--work-dir', folder / 'run',
            '--cfg-options', *small, *batch, 'custom_hooks.1.interval=2', *options,
        ]  # fmt: skip

    return give


def run(command, environment, root, status=0):
    done = subprocess.run([*map(str, command)], env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def seen(folder, rank):
    return torch.load(folder / f'rank_{rank}.pth', weights_only=True)


@pytest.mark.slow
def test_two_processes_train_one_model_with_noise_of_their_own_and_write_once(root, environment, probed, tmp_path):
    config, *options = probed('two', 'demo_fnoise.py', 2)
    done = run([root / 'tools/dist_train.sh', config, 2, *options], environment, root)

    first, second = (seen(tmp_path / 'two', rank) for rank in range(2))
    assert first['weights'].keys() == second['weights'].keys()
    for name, weight in first['weights'].items():
        assert torch.equal(weight, second['weights'][name]), name
    assert len(first['losses']) == len(second['losses']) == 4 and first['losses'] != second['losses']
    for (x, y), (other_x, other_y) in zip(first['features'], second['features']):
        alive = (x != 0).any(0) & (other_x != 0).any(0)  # the noise is that of a batch, of shape (C, H, W)
        noise, other = ((y.sum(0) / x.sum(0))[alive] - 1 for x, y in ((x, y), (other_x, other_y)))
        assert 0 < noise.abs().max() < 0.31 and 0 < other.abs().max() < 0.31
        # Of at least 1000 numbers: standard deviation at most 0.03; 5 of them.
        assert len(noise) > 1000 and abs(torch.corrcoef(torch.stack([noise, other]))[0, 1]) < 0.15

    work_dir = tmp_path / 'two/run'
    run_record = json.loads((work_dir / 'run.json').read_text())
    assert run_record['processes'] == 2
    (vis_data,) = work_dir.glob('*/vis_data')
    rows = read_run(work_dir).train
    assert [row['step'] for row in rows] == [1, 2, 3, 4]
    assert [row['loss'] for row in rows] == pytest.approx([row['loss'] for row in first['losses']])
    assert len(list(vis_data.glob('events.out.tfevents.*'))) == 1
    assert sorted(path.name for path in (vis_data / 'vis_image').glob('*train*')) == [
        'feature_maps_train_2.png', 'feature_maps_train_4.png',
    ]  # fmt: skip
    assert (work_dir / 'epoch_2.pth').is_file()
    assert done.stdout.count('Saving checkpoint at 2 epochs') == 1
    assert done.stdout.count('Evaluating segm...') == 3  # of two validations, and of the training images


@pytest.mark.slow
def test_two_processes_train_one_student_and_average_one_teacher(root, environment, few_labels, small, tmp_path):
    data, unlabelled = few_labels
    semi = ['--semi', unlabelled, 'cls_pseudo_thr=0.0']
    options = ['train_dataloader.batch_size=2', 'custom_hooks.1.images=0']
    command = [
        root / 'tools/dist_train.sh', root / 'configs/demo_fnoise.py', 2, '--data-root', data, *semi,
        '--work-dir', tmp_path / 'run', '--cfg-options', *small, *options,
    ]  # fmt: skip
    done = run(command, environment, root)
    rows = read_run(tmp_path / 'run').train
    assert len(rows) == 4, 'two epochs of 8 labelled images, 4 per batch of both processes'
    assert all(row['feature_loss_mask'] > 0 and row['pseudo_labels'] > 0 for row in rows)
    assert 'student_bbox_mAP' in read_run(tmp_path / 'run').val[-1]
    assert done.stdout.count('Saving checkpoint at 4 iterations') == 1


@pytest.mark.slow
def test_one_image_on_each_of_two_processes_is_two_images_on_one(root, environment, probed, tmp_path):
    config, *options = probed('two', 'demo_baseline.py', 1, *DRAWN_ALIKE)
    run([root / 'tools/dist_train.sh', config, 2, *options], environment, root)
    config, *options = probed('one', 'demo_baseline.py', 2, *DRAWN_ALIKE)
    run([sys.executable, root / 'tools/train.py', config, *options], environment, root)

    alone = seen(tmp_path / 'one', 0)['losses']
    shared = [seen(tmp_path / 'two', rank)['losses'] for rank in range(2)]
    assert len(alone) == len(shared[0]) == 8
    for iteration, losses in enumerate(alone):
        mean = {name: sum(rows[iteration][name] for rows in shared) / 2 for name in losses}
        if iteration == 0:  # the same weights and images; each process has its own number of anchors and of RoIs
            assert mean['loss_rpn_cls'] == pytest.approx(losses['loss_rpn_cls'], rel=1e-4)
            assert mean['loss_rpn_bbox'] == pytest.approx(losses['loss_rpn_bbox'], rel=0.02)
        assert mean['loss'] == pytest.approx(losses['loss'], rel=0.05)


@pytest.mark.slow
def test_all_processes_stop_on_a_signal_and_resume(root, environment, probed, tmp_path):
    config, *options = probed('told', 'demo_fnoise.py', 1)
    command = [*map(str, [root / 'tools/dist_train.sh', config, 2, *options])]
    work_dir = tmp_path / 'told/run'
    with subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if 'Epoch(train) [1][2/4]' in line:
                process.terminate()
                break
        output = process.communicate()[0]
    assert process.returncode
    (stopped,) = re.findall(r'stopped after (\d+) iterations', output)
    assert 2 <= int(stopped) < 8 and (work_dir / 'resume.pth').is_file()
    run([*command[:3], '--resume', *command[3:]], environment, root)
    assert [row['step'] for row in read_run(work_dir).train] == [*range(1, 9)]


SRUN = """#!{python}
# Start the processes of a job step as Slurm does: each with its number in the environment.
import os, subprocess, sys
options = [word for word in sys.argv[1:] if word.startswith('--') or word.startswith('-x')]
command = sys.argv[1 + next(i for i, word in enumerate(sys.argv[1:]) if not word.startswith('-')):]
count = int(next(word.partition('=')[2] for word in options if word.startswith('--ntasks=')))
step = dict(SLURM_NTASKS=str(count), SLURM_STEP_NODELIST='here[1-2]', SLURM_NODELIST='here[1-2]')
print(*options, flush=True)
tasks = [
    subprocess.Popen(command, env=os.environ | step | dict(SLURM_PROCID=str(i), SLURM_LOCALID=str(i)))
    for i in range(count)
]
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.mark.slow
def test_slurm_starts_the_processes(root, environment, probed, tmp_path):
    bin_folder = tmp_path / 'bin'
    bin_folder.mkdir()
    (bin_folder / 'srun').write_text(SRUN.format(python=sys.executable))
    (bin_folder / 'scontrol').write_text('#!/bin/sh\n[ "$*" = "show hostnames here[1-2]" ] && echo 127.0.0.1\n')
    for file in bin_folder.iterdir():
        file.chmod(0o755)
    environment['PATH'] = f'{bin_folder}:{environment["PATH"]}'
    environment |= dict(GPUS='2', GPUS_PER_NODE='0', CPUS_PER_TASK='1', SRUN_ARGS='--qos=low --time=1')
    config, *options = probed('slurm', 'demo_fnoise.py', 1, 'train_cfg.max_epochs=1')
    del options[2:4]  # --work-dir, which the script takes
    command = [root / 'tools/slurm_train.sh', 'cpu', 'job', config, tmp_path / 'slurm/run', *options]
    done = run(command, environment, root)
    assert '--partition=cpu --job-name=job --ntasks=2 --cpus-per-task=1 --kill-on-bad-exit=1 --qos=low' in done.stdout
    first, second = (seen(tmp_path / 'slurm', rank)['weights'] for rank in range(2))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.parametrize('script', ['dist_train.sh', 'slurm_train.sh'])
def test_scripts_say_how_they_are_used(root, environment, script):
    done = run([root / 'tools' / script], environment, root, status=2)
    assert done.stderr.startswith('usage: ') and 'example: ' in done.stderr


def test_a_wrong_number_of_processes_is_named(root, environment):
    done = run([root / 'tools/dist_train.sh', 'configs/fnoise.py', 'all'], environment, root, status=2)
    assert 'GPUS must be a number of processes, but got all' in done.stderr
