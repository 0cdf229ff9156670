"""Checkpoints that nobody should be sent, at every door."""

import functools
import http.server
import shutil
import threading

import pytest
from hostile_checkpoints import hostile_checkpoints

CONFIG = 'configs/demo_fnoise.py'


@pytest.fixture
def address(tmp_path):
    """The address of a server of the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/bad.pth'
        server.shutdown()


def doors(path, address, shapes, runs, out):
    """Return the command for each way in which a checkpoint gets into a tool; none may write to ``out``."""
    train = ['train', CONFIG, '--data-root', shapes, '--work-dir', out]
    image = shapes / 'test/000001.png'
    init = ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={path}']
    return {
        'resume': [*train, f'--resume={path}'],
        'load_from': [*train, '--cfg-options', f'load_from={path}'],
        'address': [*train, '--cfg-options', f'load_from={address}'],
        'init_cfg': [*train, '--cfg-options', *init],
        'test': ['test', CONFIG, path, '--data-root', shapes, '--work-dir', out],
        'infer': ['infer', CONFIG, path, image, '--out-dir', out],
        'infer, second': ['infer', CONFIG, next(runs.baseline.glob('epoch_*.pth')), path, image, '--out-dir', out],
        'show_noise': ['show_noise', CONFIG, path, image, '--out', out],
        'robustness': ['robustness', path.parent / 'run', '--severities', '1'],
    }


@pytest.mark.slow
@pytest.mark.fuzz
def test_hostile_checkpoints_are_refused_everywhere(
    tool, shapes, runs, address, tmp_path, fuzz_size, fuzz_report, monkeypatch
):
    canary, path, out = tmp_path / 'canary', tmp_path / 'bad.pth', tmp_path / 'out'
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    run = shutil.copytree(runs.baseline, tmp_path / 'run')
    files = hostile_checkpoints(canary)
    names = sorted(files)[: fuzz_size(1, len(files))]
    for name in names:
        path.write_bytes(files[name])
        for checkpoint in run.glob('*.pth'):
            checkpoint.write_bytes(files[name])
        for door, command in doors(path, address, shapes, runs, out).items():
            result = tool(*command, status=2)
            errors = [line for line in result.stderr.splitlines() if line.startswith('error')]
            assert len(errors) == 1 and '.pth' in errors[0], (name, door, result.stderr[-2000:])
            assert not canary.exists() and not out.exists(), (name, door)
    count = len(doors(path, address, shapes, runs, out))
    fuzz_report(
        f'{len(names)} hostile checkpoints at {count} doors: {len(names) * count} refused in a line, nothing run'
    )
