import importlib
import importlib.util

import pytest

import fnoise_mmdet


def test_mmcv_without_operators_is_said_with_the_way_on(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'mmcv._ext' else find(name))
    with pytest.raises(ImportError, match='without its compiled operators .* --no-build-isolation onedl-mmcv'):
        importlib.reload(fnoise_mmdet)


def test_public_names():
    assert {'FNoiseNeck', 'FeatureNoise', 'FeatureMapHook'} <= set(fnoise_mmdet.__all__)
    assert all(hasattr(fnoise_mmdet, name) for name in fnoise_mmdet.__all__)
