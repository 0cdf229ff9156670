"""The README's commands."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fnoise_mmdet.comparison import read_run
from fnoise_mmdet.datasets import make_shapes


def make(root: Path, *arguments: str) -> str:
    result = subprocess.run(['make', *arguments], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_help_lists_the_targets(root):
    text = make(root, 'help')
    assert all(f'make {target}' in text for target in ('setup', 'demo', 'compare', 'test', 'test-slow', 'lint'))


def test_the_environment_is_built_from_what_the_image_has_by_then(root, tmp_path):
    """The Dockerfile runs `make setup` before it copies the rest."""
    dockerfile = (root / 'Dockerfile').read_text(encoding='utf-8')
    before, found, _ = dockerfile.partition('make setup')
    assert found
    for line in re.findall(r'^COPY (.+)$', before, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (root / source).is_dir():
                shutil.copytree(root / source, tmp_path / target)
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(root / source, tmp_path / target)
    assert 'tools/dev/setup_env.py' in make(tmp_path, '--dry-run', 'setup')


def test_photos_of_another_sample_are_not_shown(root, tmp_path):
    (tmp_path / 'drawn').write_text('DATA=data/coco TRAIN=110 VAL=50\n')
    command = ['make', 'photos', f'SAMPLE={tmp_path}', f'OUT={tmp_path}/out', 'DATA=/nope', 'TRAIN=500']
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode and f'{tmp_path} was drawn with DATA=data/coco TRAIN=110 VAL=50: use' in result.stderr
    assert make(root, '--no-print-directory', 'drawn', f'SAMPLE={tmp_path}', 'DATA=data/coco') == ''


@pytest.mark.slow
@pytest.mark.parametrize(
    ('target', 'exploratory', 'sweeps', 'trainings'), [('100', '', 4, 3), ('100', '100', 4, 6), ('length', '', 1, 4)]
)
def test_the_study_on_fewer_labels_can_start(root, tmp_path, target, exploratory, sweeps, trainings):
    """Its trainings take hours; their configs, conditions and data are checked in seconds."""
    data = tmp_path / 'labels'
    make_shapes(data, num_train=640, num_val=2, num_test=2)
    arguments = [
        'SEEDS=100',
        f'EXPLORATORY_SEEDS={exploratory}',
        f'LABELS={data}',
        f'OUT={tmp_path}/out',
        f'RUN={sys.executable}',
    ]
    text = make(root, '--dry-run', '--no-print-directory', f'study-labels-{target}', *arguments)
    commands = text.replace('\\\n', ' ').splitlines()
    (split,) = [command for command in commands if 'tools/split_coco.py' in command]
    of_sweeps = [f'{command} --dry-run' for command in commands if 'tools/sweep.py' in command]
    assert len(of_sweeps) == sweeps
    outputs = []
    for command in (split, *of_sweeps):
        result = subprocess.run(command, shell=True, cwd=root, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        outputs.append(result.stdout)
    assert outputs[1].count('will start') == trainings, 'those with 40 labels, or all'


@pytest.mark.slow
@pytest.mark.xdist_group('demo')  # which makes data/shapes
def test_demo_resumes_learns_compares_and_draws(root, tmp_path):
    work_dirs = [tmp_path / 'demo' / name / 'seed_0' for name in ('baseline', 'fnoise')]
    with subprocess.Popen(['make', 'demo', f'OUT={tmp_path}'], cwd=root) as process:
        while not all((work_dir / 'last_checkpoint').is_file() for work_dir in work_dirs):
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
    assert process.returncode and not any((work_dir / 'finished').exists() for work_dir in work_dirs)

    text = make(root, 'demo', f'OUT={tmp_path}')
    assert len(re.findall(r'resumes from (?:epoch_\d|resume)\.pth', text)) == 2
    baseline, fnoise = map(read_run, work_dirs)
    content = json.loads((tmp_path / 'demo/report/comparison.json').read_text())
    assert content['warnings'] == [] and content['verdict'][0].startswith('One pair of runs does not allow')
    assert baseline.val[-1]['coco/segm_mAP_50'] >= 0.5
    assert fnoise.val[-1]['coco/segm_mAP_50'] > 0.3
    for run in (baseline, fnoise):
        assert run.train[-1]['loss'] < 0.6 * run.train[0]['loss']
    assert (tmp_path / 'demo/report/report.html').is_file() and 'mask AP50' in text
    assert len(list((tmp_path / 'demo/detections/vis').glob('*.png'))) == 20
    assert list(work_dirs[1].glob('*/vis_data/vis_image/feature_maps_train_*.png'))

    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    make(root, 'demo', f'OUT={tmp_path}')
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}, 'a second call does nothing'
