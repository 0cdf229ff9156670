from running import in_new_process

import fnoise_mmdet


def test_public_names():
    assert {'FNoiseNeck', 'FeatureNoise', 'FeatureMapHook'} <= set(fnoise_mmdet.__all__)
    assert all(hasattr(fnoise_mmdet, name) for name in fnoise_mmdet.__all__)


def test_the_import_imports_nothing_that_takes_seconds():
    modules = in_new_process('import fnoise_mmdet, sys; print(*sys.modules)').split()
    assert not {'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'matplotlib'}.intersection(modules)
    modules = in_new_process('from fnoise_mmdet import feature_noise; import sys; print(*sys.modules)').split()
    assert 'torch' in modules and not {'mmengine', 'mmcv', 'mmdet', 'matplotlib'}.intersection(modules)
