import importlib.util

import pytest
from running import in_new_process

from fnoise_mmdet.registration import REGISTERED, check_mmcv

NAMES = dict(
    MODELS='FNoiseNeck',
    HOOKS='FeatureMapHook',
    OPTIM_WRAPPERS='CPUAmpOptimWrapper',
    METRICS='CompleteCocoMetric',
    TRANSFORMS='SeededCorrupt',
    VISBACKENDS='AtomicLocalVisBackend',
)


@pytest.mark.parametrize('before', ['fnoise_mmdet', 'mmdet.registry', 'mmdet.models, mmdet.engine'])
def test_registries_know_our_names_in_any_import_order(before):
    assert NAMES.keys() == REGISTERED.keys()
    found = ', '.join(f'registry.{kind}.get("{name}").__name__' for kind, name in NAMES.items())
    script = f'import {before}; import fnoise_mmdet; from mmdet import registry; print({found})'
    assert in_new_process(script).split() == list(NAMES.values())


def test_missing_mmcv_operators_are_reported_with_a_remedy(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'mmcv._ext' else find(name))
    with pytest.raises(ImportError, match='without its compiled operators .* --no-build-isolation onedl-mmcv'):
        check_mmcv(importlib)
