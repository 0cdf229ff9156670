"""The wheel has commands and configs, and needs no checkout."""

import json
import os
import shutil
import subprocess
import sys

import pytest

PIP = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
PARTS = ('fnoise_mmdet', 'configs', 'tools', 'pyproject.toml', 'setup.py', 'model-index.yml', 'README.md', 'LICENSE')


@pytest.fixture(scope='module')
def wheel(root, tmp_path_factory):
    """Build the wheel."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for part in PARTS:
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        copy(root / part, source / part)
    subprocess.run([*PIP, 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, source], check=True)
    (built,) = out.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """Install the wheel into a folder of its own."""
    site = tmp_path_factory.mktemp('site')
    subprocess.run([*PIP, 'install', '-q', '--no-deps', '--upgrade', '--target', site, wheel], check=True)
    return site


@pytest.mark.slow
def test_installing_it_beside_mmdet_changes_no_other_package(wheel):
    command = [*PIP, 'install', '--dry-run', '--quiet', '--no-index', '--report', '-', wheel]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert {one['metadata']['name'] for one in report['install']} <= {'fnoise_mmdet'}


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
def test_the_tutorial_runs_without_a_checkout(installed, tmp_path):
    """Data, panel, pair and report, by the command of the wheel."""
    pytest.importorskip('nbclient')
    from run_tutorial import TUTORIAL, run_notebook

    environment = os.environ | {'PYTHONPATH': str(installed)}
    cells = run_notebook(TUTORIAL, tmp_path, environment).cells
    text = ''.join(output.get('text', '') for cell in cells for output in cell.get('outputs', ()))
    assert 'in evaluation the very same tensor comes back' in text and 'wrote 1 image to shown' in text
    assert (tmp_path / 'work_dirs/tutorial/report/report.html').is_file()
    log = (tmp_path / 'work_dirs/tutorial/fnoise/seed_0/train.log').read_text()
    assert f'next        fnoise infer {tmp_path}/work_dirs/tutorial/fnoise.py' in log
    record = json.loads((tmp_path / 'work_dirs/tutorial/fnoise/seed_0/run.json').read_text())
    assert record['command'][:2] == ['fnoise', 'train']
