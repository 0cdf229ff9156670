from pathlib import Path
from types import SimpleNamespace

import pytest

from fnoise_mmdet.engine.preflight import (
    check_model,
    check_room,
    check_work_dir,
)
from fnoise_mmdet.errors import InputError


def test_run_is_not_overwritten_but_resumed(cfg, tmp_path):
    (tmp_path / 'run').mkdir()
    check_work_dir(cfg)
    (tmp_path / 'run/epoch_1.pth').write_bytes(b'weights')
    with pytest.raises(InputError, match='already holds the checkpoints of a run: continue it with --resume'):
        check_work_dir(cfg)
    cfg.resume = True
    check_work_dir(cfg)


def test_unsupported_resume_is_reported(cfg, monkeypatch):
    cfg.resume = True
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.work_dir.mmengine.__version__', '0.10.7')
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.work_dir.torch.__version__', '2.6.0')
    with pytest.raises(InputError, match=r'mmengine 0.10.7 cannot resume with torch 2.6.0'):
        check_work_dir(cfg)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.work_dir.torch.__version__', '2.5.1')
    check_work_dir(cfg)


def test_unwritable_work_dir_is_reported(cfg, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    cfg.work_dir = str(tmp_path / 'file')
    with pytest.raises(InputError, match='file is a file: use a folder'):
        check_work_dir(cfg)
    cfg.work_dir = str(tmp_path / 'file/run')
    with pytest.raises(InputError, match='run cannot be written to'):
        check_work_dir(cfg)
    cfg.work_dir = str(tmp_path / 'run')
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(InputError, match='run cannot be written to'):
        check_work_dir(cfg)


def test_insufficient_disk_space_for_checkpoints_is_reported(cfg, monkeypatch):
    model = check_model(cfg)
    check_room(cfg, model)
    weights = sum(parameter.numel() for parameter in model.parameters()) * 4
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=5.9 * weights))  # AdamW: 3 times 2
    with pytest.raises(InputError, match=r'2 checkpoints need \d+ MiB'):
        check_room(cfg, model)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=6.1 * weights))
    check_room(cfg, model)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=3.1 * weights))
    with pytest.raises(InputError, match='2 checkpoints need'):
        check_room(cfg, model)
    Path(cfg.work_dir).mkdir()
    Path(cfg.work_dir, 'epoch_1.pth').touch()
    check_room(cfg, model)  # of a training that goes on, one is there
