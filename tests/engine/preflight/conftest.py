import shutil

import pytest

from fnoise_mmdet.config import load_config, use_data_root


@pytest.fixture
def data(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / 'data')


@pytest.fixture
def cfg(root, data, tmp_path):
    cfg = load_config(str(root / 'configs/demo_fnoise.py'))
    use_data_root(cfg, str(data), required=('train', 'val'))
    cfg.work_dir = str(tmp_path / 'run')
    return cfg
