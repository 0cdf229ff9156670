"""The wheel has commands and configs, and needs no checkout."""

import os
import shutil
import subprocess
import sys

import pytest

PARTS = ('fnoise_mmdet', 'configs', 'tools', 'pyproject.toml', 'setup.py', 'model-index.yml', 'README.md', 'LICENSE')


@pytest.fixture(scope='module')
def installed(root, tmp_path_factory):
    """Install the wheel into a folder of its own."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for part in PARTS:
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        copy(root / part, source / part)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, source], check=True)
    (wheel,) = out.glob('*.whl')
    subprocess.run([*pip, 'install', '-q', '--no-deps', '--target', out / 'site', wheel], check=True)
    return out / 'site'


@pytest.fixture
def fnoise(installed, tmp_path):
    """Run the command of the wheel in an empty folder."""

    def run(*arguments):
        environment = os.environ | {'PYTHONPATH': str(installed), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, installed / 'bin' / 'fnoise', *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run


@pytest.mark.slow
def test_configs_and_tools_are_those_of_the_checkout(installed, root):
    mim = installed / 'fnoise_mmdet' / '.mim'

    def files(folder, pattern):
        found = {path.relative_to(folder) for path in folder.rglob(pattern) if path.is_file()}
        return {path for path in found if not {'__pycache__', 'dev'}.intersection(path.parts)}

    for name in ('configs', 'tools'):
        assert files(mim / name, '*') == files(root / name, '*')
    assert (mim / 'model-index.yml').is_file()


@pytest.mark.slow
def test_a_pair_is_trained_without_a_checkout(fnoise, installed, tmp_path):
    sizes = ['--num-train', '8', '--num-val', '4', '--num-test', '1']
    assert fnoise('dataset', 'shapes', *sizes).stdout.endswith('images to data/shapes\n')
    short = ['--cfg-options', 'train_cfg.max_epochs=1']
    trained = fnoise('pair', 'fnoise_mmdet::demo_baseline.py', '--seeds', '0', '--out', 'pair', *short)
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert (tmp_path / 'pair/report/report.html').is_file()
    log = (tmp_path / 'pair/fnoise/seed_0/train.log').read_text()
    assert f'next        fnoise infer {tmp_path}/pair/fnoise.py' in log
    shown = fnoise('show', 'fnoise_mmdet::demo_fnoise.py', 'data/shapes/test', '--out', 'shown')
    assert (
        shown.stdout.endswith('wrote 1 image to shown\n')
        and str(installed) in fnoise('train', 'fnoise_mmdet::demo_fnoise.py', '--dry-run').stdout
    )
