"""The set-up says what is wrong with a machine, in one message, before it makes anything."""

import importlib.util
import os
import subprocess
import sys

import pytest


@pytest.fixture
def setup_env(root):
    spec = importlib.util.spec_from_file_location('setup_env', root / 'tools/setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 13, 0)])
def test_wrong_python(setup_env, monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    with pytest.raises(SystemExit, match=rf'Python 3.10 to 3.12 is needed, but .* is 3.{version[1]}; name another'):
        setup_env.check_machine()


def test_missing_compiler(root, tmp_path):
    """Run as `make` runs it, in a copy of the checkout without .venv."""
    (tmp_path / 'tools').mkdir()
    script = tmp_path / 'tools/setup_env.py'
    script.write_text((root / 'tools/setup_env.py').read_text())
    result = subprocess.run(
        [sys.executable, script], env={**os.environ, 'CXX': 'no-such-compiler'}, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: a C++ compiler is needed to build mmcv's operators")
    assert "'no-such-compiler' is not there" in result.stderr and 'Traceback' not in result.stderr
    assert not (tmp_path / '.venv').exists()


def test_missing_headers(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.shutil, 'which', lambda name: name)
    monkeypatch.setattr(setup_env.sysconfig, 'get_paths', lambda: {'include': '/nowhere'})
    with pytest.raises(SystemExit, match='headers of Python .* are needed .* apt-get install python3.*-dev'):
        setup_env.check_machine()


def test_operators_that_did_not_build(setup_env, monkeypatch):
    """An mmcv that installs, but whose compiled part cannot be imported."""
    imports = setup_env.subprocess.run

    def run(command, **kwargs):
        broken = 'mmcv._ext' in command[-1]
        return imports([sys.executable, '-c', 'import no_such_module' if broken else 'pass'], **kwargs)

    monkeypatch.setattr(setup_env.subprocess, 'run', run)
    with pytest.raises(SystemExit, match=r'(?s)mmcv was installed without its compiled operators: .*no_such_module'):
        setup_env.check_venv(setup_env.MAINTAINED)


def test_failed_step_shows_the_end_of_the_log(setup_env, tmp_path, capsys):
    log = tmp_path / 'log'
    with pytest.raises(SystemExit, match='(?s)this step failed: buy a disk.*no room'):
        setup_env.run('step', sys.executable, '-c', 'raise SystemExit("no room")', log=log, advice='buy a disk')
    setup_env.run('step', sys.executable, '-c', 'pass', log=log, advice='')
    assert 'done in' in capsys.readouterr().out


def test_both_environments_name_their_torch(setup_env):
    assert setup_env.torch_requirement(setup_env.MAINTAINED.requirements).startswith('torch>=')
    assert setup_env.torch_requirement(setup_env.UPSTREAM.requirements).endswith('<2.6')
