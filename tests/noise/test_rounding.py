import numpy as np
import pytest
import torch

from fnoise_mmdet.noise.rounding import FORMATS, round_features, round_to_float


def numbers(count=4000, seed=0):
    """Normal numbers over many orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator) * 2.0 ** torch.randint(-20, 8, (count,), generator=generator)


@pytest.mark.parametrize(
    ('dtype', 'mantissa', 'lowest', 'largest'),
    [(torch.float8_e4m3fn, 3, -6, 448.0), (torch.float8_e5m2, 2, -14, 57344.0), (torch.bfloat16, 7, -126, 3.38e38)],
)
def test_rounds_as_torch_does(dtype, mantissa, lowest, largest):
    x = numbers().clamp(-largest, largest)
    assert torch.equal(round_to_float(x, mantissa, lowest, largest), x.to(dtype).float())


def grid(name):
    """All numbers of a format, written from its definition."""
    bits, exponents, bias = dict(e2m1=(1, range(4), 1), e4m3=(3, range(16), 7), e5m2=(2, range(31), 15))[name]
    found = [0.0]
    for exponent in exponents:
        for mantissa in range(2**bits):
            fraction = mantissa / 2**bits
            found.append(2.0 ** (1 - bias) * fraction if exponent == 0 else 2.0 ** (exponent - bias) * (1 + fraction))
    largest = dict(e2m1=6.0, e4m3=448.0, e5m2=57344.0)[name]
    return np.array([value for value in found if value <= largest])


@pytest.mark.parametrize('name', ['e2m1', 'e4m3', 'e5m2'])
def test_scaled_floats_are_the_nearest_of_the_format(name):
    x = numbers(2000).view(1, 4, 20, 25)
    found = round_features(x, name).double().numpy()
    factor = grid(name).max() / x.abs().max().item()
    scaled = np.abs(x.double().numpy() * factor)
    nearest = np.abs(scaled[..., None] - grid(name)).min(axis=-1)
    float32 = 1e-6 * scaled  # precision of the factor
    assert (np.abs(np.abs(found * factor) - scaled) <= nearest + float32).all()
    assert np.isclose(np.abs(found * factor)[..., None], grid(name), rtol=1e-5).any(axis=-1).all()
    assert (np.sign(found) * np.sign(x.numpy()) >= 0).all()


def test_powers_of_two():
    x = torch.tensor([[1.0, 1.49, 1.51, 3.1, -2.9, -3.1, 0.0, 1.1e-20]])
    expected = torch.tensor([[1.0, 1.0, 2.0, 4.0, -2.0, -4.0, 0.0, 2.0**-66]])
    assert torch.equal(round_features(x.view(1, 1, 1, -1), 'power_of_two').flatten(), expected.flatten())


@pytest.mark.parametrize('bits', [8, 6, 4])
@pytest.mark.parametrize('per_channel', [False, True])
def test_integers_are_steps_of_the_largest_magnitude(bits, per_channel):
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 0]).view(
        1, 3, 1, 1
    )
    found = round_features(x, f'int{bits}_channel' if per_channel else f'int{bits}')
    for channel in range(3):
        part = x[:, channel] if per_channel else x
        step = float(part.abs().max()) / (2 ** (bits - 1) - 1)
        expected = np.round(x[:, channel].numpy() / step) * step if step else np.zeros((2, 5, 7))
        assert found[:, channel].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('name', FORMATS)
def test_zeros_and_types_are_kept(name):
    x = torch.zeros(1, 2, 3, 3, dtype=torch.float16)
    assert torch.equal(round_features(x, name), x) and round_features(x, name).dtype == torch.float16


@pytest.mark.parametrize(('name', 'deviation'), [('e4m3', 0.0265), ('e5m2', 0.0527), ('power_of_two', 0.194)])
def test_relative_error_on_half_normal_features(name, deviation):
    """Root of the power of the error over that of the features, within 3 %."""
    x = torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(0)).abs()
    error = (round_features(x, name) - x).norm() / x.norm()
    assert float(error) == pytest.approx(deviation, rel=0.03)
