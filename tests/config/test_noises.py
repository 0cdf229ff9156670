import pytest
from mmdet.registry import MODELS

from fnoise_mmdet import Noise
from fnoise_mmdet.config import load_config, noise_label, noise_settings
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
    assert noise_settings('mean_normal')['levels'] == [-1] and noise_settings('uniform_20')['place'] == 'post'
    assert noise_settings('MixStyle') == dict(noise=dict(type='MixStyle'), place='stage', levels=[0, 1])


@pytest.mark.parametrize(
    'text, place',
    [
        ('MixStyle@pre', dict(place='pre')),
        ('MixStyle@roi', dict(place='roi')),
        ('MixStyle@stage:0,-1', dict(place='stage', levels=[0, -1])),
        ('MixStyle@backbone.layer1.0', dict(place='backbone.layer1.0')),
    ],
)
def test_places_that_are_named(text, place):
    assert noise_settings(text) == dict(noise=dict(type='MixStyle'), **place)


def test_labels_are_names_of_files():
    assert noise_label('DSU@stage:0,-1') == 'DSU_stage_0_-1' and noise_label('cct') == 'cct'


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
    'name, message',
    [
        ('mean_norml', 'did you mean mean_normal'),
        ('FPN', 'unknown noise FPN'),
        ('no.such', 'unknown'),
        ('no@stage', 'unknown noise no'),
        ('cct@', 'no place after @: write cct@stage'),
        ('cct@stage:a', 'must be integers, as in cct@stage:0,1'),
    ],
)
def test_unknown_noise(name, message):
    with pytest.raises(InputError, match=message):
        noise_settings(name)
