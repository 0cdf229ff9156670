"""Checkpoints that nobody should be sent, at every door."""

import argparse
import functools
import http.server
import shutil
import threading

import pytest
import torch
from hostile_checkpoints import hostile_checkpoints
from mmengine.config import DictAction

from fnoise_mmdet.config import add_comparison_hooks, load_config, use_data_root
from fnoise_mmdet.studies.study import write_study

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


@pytest.fixture
def study(shapes, small, tmp_path):
    """The command line of a study that was stopped in its first training."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    options = parser.parse_args(['--cfg-options', *small]).cfg_options
    configs = {name: load_config(f'configs/demo_{name}.py', options) for name in ('baseline', 'fnoise')}
    for cfg in configs.values():
        use_data_root(cfg, str(shapes), required=('train', 'val'))
        add_comparison_hooks(cfg)
    out = tmp_path / 'study'
    (out / 'baseline/seed_0').mkdir(parents=True)
    (out / 'baseline/seed_0/epoch_1.pth').touch()
    command = ['run_pair', 'configs/demo_baseline.py', CONFIG, '--data-root', shapes, '--out', out, '--seeds', 0]
    write_study(out, configs, list(map(str, command)))
    return [*command, '--cfg-options', *small]


def doors(path, address, shapes, runs, study, out):
    """Return the command for each way in which a checkpoint gets into a tool; none may write to ``out``."""
    train = ['train', CONFIG, '--data-root', shapes, '--work-dir', out]
    image = shapes / 'test/000001.png'
    init = 'model.backbone.init_cfg.type=Pretrained', 'model.backbone.init_cfg.checkpoint='
    return {
        'resume': [*train, f'--resume={path}'],
        'load_from': [*train, '--cfg-options', f'load_from={path}'],
        'address': [*train, '--cfg-options', f'load_from={address}'],
        'init_cfg': [*train, '--cfg-options', init[0], f'{init[1]}{path}'],
        'init_cfg, address': [*train, '--cfg-options', init[0], f'{init[1]}{address}'],
        'study': study,
        'test': ['test', CONFIG, path, '--data-root', shapes, '--work-dir', out],
        'infer': ['infer', CONFIG, path, image, '--out-dir', out],
        'infer, second': ['infer', CONFIG, next(runs.baseline.glob('epoch_*.pth')), path, image, '--out-dir', out],
        'show_noise': ['show_noise', CONFIG, path, image, '--out', out],
        'publish_model': ['publish_model', path, out],
        'robustness': ['robustness', path.parent / 'run', '--severities', '1'],
    }


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file() and path.name != '.lock'}


@pytest.mark.slow
@pytest.mark.fuzz
def test_hostile_checkpoints_are_refused_everywhere(
    tool, shapes, runs, study, address, tmp_path, fuzz_size, fuzz_report
):
    canary, path, out = tmp_path / 'canary', tmp_path / 'bad.pth', tmp_path / 'out'
    run = shutil.copytree(runs.baseline, tmp_path / 'run')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_2.pth'))
    files = hostile_checkpoints(canary)
    names = sorted(files)[: fuzz_size(1, len(files))]
    for name in names:
        path.write_bytes(files[name])
        for checkpoint in [*run.glob('*.pth'), *tmp_path.glob('study/*/*/*.pth')]:
            checkpoint.write_bytes(files[name])
        for door, command in doors(path, address, shapes, runs, study, out).items():
            before = listing(tmp_path)
            result = tool(*command, status=2)
            errors = [line for line in result.stderr.splitlines() if line.startswith('error')]
            assert len(errors) == 1 and '.pth' in errors[0], (name, door, result.stderr[-2000:])
            assert not canary.exists() and listing(tmp_path) == before, (name, door)
    count = len(doors(path, address, shapes, runs, study, out))
    fuzz_report(
        f'{len(names)} hostile checkpoints at {count} doors: {len(names) * count} refused in a line, nothing run'
    )


@pytest.mark.slow
def test_resumed_training_removes_no_file_of_others(tool, shapes, runs, small, tmp_path):
    """A better checkpoint replaces the best one, which the checkpoint names."""
    (tmp_path / 'photos').mkdir()
    content = torch.load(runs.baseline / 'epoch_2.pth', weights_only=False)
    content['message_hub']['runtime_info'] |= dict(best_score=-1.0, best_ckpt=str(tmp_path / 'photos'))
    torch.save(content, tmp_path / 'bad.pth')
    tool(
        'train', 'configs/demo_baseline.py', '--data-root', shapes, '--work-dir', tmp_path / 'run',
        f'--resume={tmp_path}/bad.pth', '--cfg-options', *small, 'train_cfg.max_epochs=3',
        'default_hooks.checkpoint.save_best=val_loss', 'default_hooks.checkpoint.rule=greater',
        'train_dataloader.dataset.indices=4',
    )  # fmt: skip
    assert list((tmp_path / 'run').glob('best_*.pth'))
    assert (tmp_path / 'photos').exists()
