import pytest
import torch

from fnoise_mmdet.evaluation.deployment import ANALOG, Rounding, deployment_noise, deployment_plan
from fnoise_mmdet.evaluation.robustness import Evaluation, NoisePerImage, make_plan
from fnoise_mmdet.noise.rounding import FORMATS, round_features


@pytest.fixture
def features():
    return torch.randn(3, 8, 10, 12, generator=torch.Generator().manual_seed(0)).relu()


@pytest.mark.parametrize('name', FORMATS)
def test_formats_round_each_image_by_itself(features, name):
    noise = NoisePerImage(deployment_noise(name, None), seed=0)
    noise.images = [5, 7, 9]
    found = noise.perturb(features, (0,))
    for image in range(3):
        assert torch.equal(found[image : image + 1], round_features(features[image : image + 1], name))


@pytest.mark.parametrize(('name', 'scale'), [(name, scale) for name in ANALOG for scale in (0.1, 0.4)])
def test_analog_noise_has_its_deviation(features, name, scale):
    error = deployment_noise(name, scale).perturb(features, (0,)) - features
    reference = features if name == 'multiplicative' else features.square().mean((1, 2, 3), keepdim=True).sqrt()
    ratio = error / reference.expand_as(features)
    assert float(ratio[features > 0].std()) == pytest.approx(scale, rel=0.08)  # of 1,400 numbers, 4 standard errors
    assert (error[features == 0] != 0).all() == (name == 'additive')


def test_signal_to_noise_ratio_is_the_mean_over_levels(features):
    noise = NoisePerImage(Rounding('power_of_two'), seed=0)
    for images, x in (([1, 2, 3], features), ([4, 5, 6], features * 10)):
        noise.images = images
        for level, part in enumerate((x, x[..., ::2, ::2])):
            noise.perturb(part, (level,))
    expected = []
    for part in (features, features[..., ::2, ::2]):
        xs = [x for whole in (part, part * 10) for x in whole.split(1)]
        error = sum((round_features(x, 'power_of_two') - x).double().square().sum() for x in xs)
        expected.append(10 * torch.log10(sum(x.double().square().sum() for x in xs) / error))
    assert noise.snr_db() == pytest.approx(float(sum(expected) / 2), rel=1e-5)
    assert 12 < noise.snr_db() < 16, 'near the 14.2 dB of half-normal features'


def test_nothing_changed_has_no_ratio(features):
    noise = NoisePerImage(Rounding('power_of_two'), seed=0)
    noise.images = [1, 2, 3]
    noise.perturb((features > 0).float(), (0,))
    assert noise.snr_db() is None


def test_plan_has_every_perturbation_once():
    plan = [one for one in make_plan([], [], [], 'cct', deployment=True) if one.kind == 'deployment']
    assert len(plan) == len(set(plan)) == len(deployment_plan()) == len(FORMATS) + 8
    assert Evaluation('deployment', 'additive', scale=0.1) in plan
    assert {one.label() for one in plan} >= {'deployment_e4m3', 'deployment_additive_0.1'}
    assert [one.kind for one in make_plan([], [], [], 'cct')] == ['clean']
