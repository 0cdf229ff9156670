"""The set-up says what is wrong with a machine, in one message, before it makes anything."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def setup_env(root):
    spec = importlib.util.spec_from_file_location('setup_env', root / 'tools/dev/setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 13, 0)])
def test_wrong_python(setup_env, monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    with pytest.raises(SystemExit, match=rf'Python 3.10 to 3.12 is needed, but .* is 3.{version[1]}; use another'):
        setup_env.check_machine()


def test_missing_compiler(root, tmp_path):
    """Run as `make` runs it, in a copy of the checkout without .venv."""
    (tmp_path / 'tools/dev').mkdir(parents=True)
    script = tmp_path / 'tools/dev/setup_env.py'
    script.write_text((root / 'tools/dev/setup_env.py').read_text())
    result = subprocess.run(
        [sys.executable, script], env={**os.environ, 'CXX': 'no-such-compiler'}, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: a C++ compiler is needed to build mmcv's operators")
    assert "'no-such-compiler' was not found" in result.stderr and 'Traceback' not in result.stderr
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
        setup_env.run_step('step', sys.executable, '-c', 'raise SystemExit("no room")', log=log, advice='buy a disk')
    setup_env.run_step('step', sys.executable, '-c', 'pass', log=log, advice='')
    assert 'done in' in capsys.readouterr().out


def test_both_environments_name_their_torch(setup_env):
    assert setup_env.torch_requirement(setup_env.MAINTAINED.requirements).startswith('torch>=')
    assert setup_env.torch_requirement(setup_env.UPSTREAM.requirements).endswith('<2.6')


@pytest.fixture
def venv(setup_env, tmp_path):
    """An environment with a torch that has one header."""
    include = tmp_path / 'venv/lib/python3.11/site-packages/torch/include'
    (include / 'torch/csrc/api/include/torch').mkdir(parents=True)
    (include / 'torch/csrc/api/include/torch/types.h').write_text('inline int torch() { return 1; }')
    return setup_env.Environment(tmp_path / 'venv', setup_env.MAINTAINED.requirements)


def test_precompiled_header_is_used(setup_env, venv, tmp_path):
    macros = subprocess.run(['c++', '-dM', '-E', '-x', 'c++', '/dev/null'], capture_output=True, text=True).stdout
    if '__clang__' in macros:
        pytest.skip('not GCC')
    use = setup_env.precompile_torch(venv, tmp_path, '-O2')
    source = tmp_path / 'op.cpp'
    source.write_text('int op() { return torch(); }')
    flags = ['-fPIC', '-std=c++17', '-DTORCH_API_INCLUDE_EXTENSION_H', '-DTORCH_EXTENSION_NAME=_ext']
    shutil.rmtree(venv.folder / 'lib')  # so that only the precompiled header has it
    compiled = subprocess.run(
        ['c++', '-O2', *use.split(), *flags, '-Werror=invalid-pch', '-c', source, '-o', tmp_path / 'op.o'],
        capture_output=True, text=True,
    )  # fmt: skip
    assert not compiled.returncode, compiled.stderr


def test_header_is_empty_to_other_packages(setup_env, venv, tmp_path):
    """C, and C++ that does not know where torch is."""
    use = setup_env.precompile_torch(venv, tmp_path, '-O2')
    source = tmp_path / 'other'
    source.write_text('int torch;')
    api = next(venv.folder.glob('lib/*/site-packages/torch/include/torch/csrc/api/include'))
    for language in [['-x', 'c', '-I', api], ['-x', 'c++']]:
        command = ['c++', '-O2', '-fPIC', *use.split(), *language, '-c', source, '-o', tmp_path / 'other.o']
        subprocess.run(command, check=True)


@pytest.mark.parametrize('compiler', ['false', 'c++ -D__clang__', 'c++ -fno-such-flag'])
def test_compiler_that_cannot_precompile(setup_env, venv, tmp_path, monkeypatch, compiler):
    """The operators are compiled without."""
    monkeypatch.setenv('CXX', compiler)
    assert setup_env.precompile_torch(venv, tmp_path, '-O2') == ''


@pytest.mark.parametrize('built', [False, True])
@pytest.mark.parametrize('use', ['', '-include torch.h'])
def test_flags_of_the_operators(setup_env, venv, monkeypatch, built, use):
    steps = {}
    monkeypatch.setattr(setup_env, 'run_step', lambda message, *command, **kwargs: steps.update({message: kwargs}))
    monkeypatch.setattr(setup_env, 'mmcv_is_built', lambda venv: built)
    monkeypatch.setattr(setup_env, 'precompile_torch', lambda venv, folder, cflags: use)
    monkeypatch.setenv('CFLAGS', '-march=native')
    monkeypatch.delenv('CXXFLAGS', raising=False)
    venv.python.parent.mkdir()
    venv.python.touch()
    setup_env.make_venv(venv)
    (env,) = [kwargs['env'] for kwargs in steps.values() if 'env' in kwargs]
    expected = [setup_env.COMPILE, '-march=native', *([use] if use and not built else [])]
    assert env['CFLAGS'] == ' '.join(expected)
    expected.remove('-march=native')
    assert env['CXXFLAGS'] == ' '.join(expected)


def test_mmcv_that_pip_has(setup_env, venv, monkeypatch):
    listed = b''
    monkeypatch.setattr(
        setup_env.subprocess, 'run', lambda command, **kwargs: subprocess.CompletedProcess(command, 0, listed)
    )
    assert not setup_env.mmcv_is_built(venv)
    listed = b'/cache/onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl\n'
    assert setup_env.mmcv_is_built(venv)
    listed = b''
    (venv.folder / 'lib/python3.11/site-packages/mmcv').mkdir()
    assert setup_env.mmcv_is_built(venv)
