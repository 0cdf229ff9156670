import subprocess
import sys
import types

import pytest
import torch

from fnoise_mmdet.engine import torchvision_operators


@pytest.mark.skipif(torch.version.cuda is not None, reason='operators load with a CUDA build of torch')
def test_torchvision_can_be_imported_with_any_operators(tmp_path):
    """As mmengine does at the start of a training: a stand-in that needs both operators, in a process of its own."""
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '_C.so').write_bytes(b'built for CUDA')
    (package / '__init__.py').write_text(
        'import torch\n'
        'for name in ("nms", "qnms"):\n'
        '    torch.library.register_fake(f"torchvision::{name}")(lambda *_: None)\n'
    )
    code = 'import sys; sys.path.insert(0, sys.argv[1]); import fnoise_mmdet, torchvision; print(torchvision.__file__)'
    done = subprocess.run([sys.executable, '-c', code, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip().endswith(str(package / '__init__.py')), done.stderr
    without = code.replace('fnoise_mmdet, ', '')
    assert (
        'torchvision::nms does not exist'
        in subprocess.run([sys.executable, '-c', without, tmp_path], capture_output=True, text=True).stderr
    )


def test_without_torchvision_nothing_is_declared(monkeypatch):
    monkeypatch.setattr(torchvision_operators, '_library', None)
    monkeypatch.setattr(torchvision_operators.importlib.util, 'find_spec', lambda _: None)
    torchvision_operators.declare_operators()
    assert torchvision_operators._library is None and not torchvision_operators.has_operators()


def test_operators_that_load_are_left_alone(monkeypatch, tmp_path):
    (tmp_path / '_C.so').touch()
    loaded = []
    monkeypatch.setattr(torch.ops, 'load_library', loaded.append)
    monkeypatch.setattr(torch.version, 'cuda', None)
    monkeypatch.setattr(torchvision_operators, '_library', None)
    spec = types.SimpleNamespace(origin=str(tmp_path / '__init__.py'))
    monkeypatch.setattr(torchvision_operators.importlib.util, 'find_spec', lambda _: spec)
    torchvision_operators.declare_operators()
    assert loaded == [tmp_path / '_C.so']
    assert torchvision_operators._library is None and torchvision_operators.has_operators()
