import pytest
from mmdet.registry import MODELS

from fnoise_mmdet import Noise
from fnoise_mmdet.config import load_config, noise_settings
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.sweep import sweep_conditions

CONFIG = """
custom_imports = dict(imports=['my_noise_of_a_test'], allow_failed_imports=False)
model = dict(type='FasterRCNN', backbone=dict(type='ResNet', depth=18), neck=dict(type='FPN'))
"""
MODULE = """
from mmdet.registry import MODELS
from fnoise_mmdet import Noise

@MODELS.register_module()
class MyNoise(Noise):
    strengths = ('prob', 'scale')

    def __init__(self, scale=0.5, prob=1.0):
        super().__init__(prob)
        self.scale = scale

    def sample(self, x, generator):
        return x.new_empty(()).uniform_(generator=generator)

    def apply_sample(self, x, sample):
        return x + self.scale * sample
"""


def test_published_places():
    assert noise_settings('cct') == dict(noise=dict(type='FeatureNoise', preset='cct'))
    assert noise_settings('FDrop') == dict(noise=dict(type='FDrop'))
    assert noise_settings('mean_normal')['levels'] == [-1] and noise_settings('uniform_20')['position'] == 'post'


def test_own_noise(tmp_path, monkeypatch):
    """A module that the config imports registers it."""
    (tmp_path / 'my_noise_of_a_test.py').write_text(MODULE)
    (tmp_path / 'my_config.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        cfg = load_config(str(tmp_path / 'my_config.py'), {'model.neck.noise.scale': 0.1}, 'MyNoise')
        assert cfg.model.neck.noise == dict(type='MyNoise', scale=0.1)
        assert issubclass(MODELS.get('MyNoise'), Noise)
        assert cfg.custom_imports.imports == ['my_noise_of_a_test', 'fnoise_mmdet']
        assert sweep_conditions(['MyNoise', 'MyNoise=2'], [0, 0.5]) == {
            'MyNoise_0.5': dict(noise=dict(type='MyNoise', scale=0.5)),
            'MyNoise_2.0': dict(noise=dict(type='MyNoise', scale=2.0)),
        }
    finally:
        MODELS._module_dict.pop('MyNoise', None)


@pytest.mark.parametrize(
    'name, message', [('mean_norml', 'did you mean mean_normal'), ('FPN', 'unknown noise FPN'), ('no.such', 'unknown')]
)
def test_unknown_noise(name, message):
    with pytest.raises(InputError, match=message):
        noise_settings(name)
