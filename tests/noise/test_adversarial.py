import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.noise import AdversarialNoise, FeatureNoise, make_generator


def naive(x, direction, size):
    """y = x + size ||x|| d, with the norm of each sample."""
    y = np.empty_like(x)
    for b in range(len(x)):
        y[b] = x[b] + size * np.sqrt((x[b] ** 2).sum()) * direction[b]
    return y


def test_is_its_formula(x, key):
    noise = AdversarialNoise(scale=0.6)
    direction = noise.sample(x, make_generator(key)).double()
    np.testing.assert_allclose(direction.flatten(1).norm(dim=1).numpy(), 1, rtol=1e-6)
    expected = naive(x.numpy(), direction.numpy(), 0.6 / 3**0.5)
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_has_the_power_of_f_noise(key):
    x = torch.randn(2, 64, 64, 64, generator=torch.Generator().manual_seed(1))
    powers = [float((noise(x, key) - x).norm() / x.norm()) for noise in (AdversarialNoise(), FeatureNoise())]
    assert powers[0] == pytest.approx(0.3 / 3**0.5, rel=1e-5) == pytest.approx(powers[1], rel=0.01)


def test_direction_is_the_gradient_at_a_small_step(x, key):
    """Of a loss whose gradient is known: the sum of a y^2 over all elements."""
    noise = AdversarialNoise(step=0.1)
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape)
    with noise.search() as find:
        small = noise(x, key)
        find((weights * small**2).sum())
    start = noise.sample(x, make_generator(key)).double()
    np.testing.assert_allclose(small.detach().numpy(), naive(x.numpy(), start.numpy(), 0.1), rtol=1e-6)
    gradient = (2 * weights * small).detach()
    direction = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = naive(x.numpy(), direction.numpy(), 0.3 / 3**0.5)
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-5, atol=1e-6)
    random = naive(x.numpy(), start.numpy(), 0.3 / 3**0.5)
    np.testing.assert_allclose(noise(x, key).numpy(), random, rtol=1e-5, atol=1e-6)  # found for one call


def test_calls_keep_their_order_and_a_loss_without_gradient_keeps_the_random_direction(x, key):
    noise = AdversarialNoise()
    with noise.search() as find:
        first, second = noise(x, key), noise(x, key)
        find(first.sum() + 0 * second.sum())
    uniform = torch.full_like(x, x[0].numel() ** -0.5)
    expected = naive(x.numpy(), uniform.numpy(), 0.3 / 3**0.5)
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=1e-5, atol=1e-6)
    plain = AdversarialNoise()
    assert torch.equal(noise(x, key), plain(x, key))


def test_other_shapes_after_the_search_are_named(x, key):
    noise = AdversarialNoise()
    with noise.search() as find:
        find(noise(x, key).sum())
    with pytest.raises(ValueError, match=r'same shape in the search and after it, but got .*3, 4, 5, 6.* and .*1, 4'):
        noise(x[:1], key)


def test_search_without_calls(x, key):
    noise = AdversarialNoise()
    with noise.search() as find:
        find(x.sum())
    assert torch.equal(noise(x, key), AdversarialNoise()(x, key))


@pytest.mark.parametrize('scale', [1e-7, 1.0])
def test_direction_in_half_precision(x, key, scale):
    """Also of a loss whose gradients are at the least number of fp16, which is 6e-8."""
    x = x.half()
    noise = AdversarialNoise()
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape)
    with noise.search() as find:
        find((scale * (weights * noise(x, key)).float()).sum())
    expected = naive(x.numpy(), (weights / weights.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).numpy(), 0.3 / 3**0.5)
    np.testing.assert_allclose(noise(x, key).numpy(), expected, rtol=5e-3, atol=5e-3)


def test_infinite_gradient_keeps_the_random_direction(x, key):
    noise = AdversarialNoise()
    with noise.search() as find:
        find(noise(x, key)[0].sum() * float('inf'))
    assert torch.equal(noise(x, key), AdversarialNoise()(x, key))


def test_gradient_checkpointing(x, key):
    """A random direction is repeated, one that was found is not at hand again."""
    noise = AdversarialNoise()
    x.requires_grad_()

    def square(x):
        return noise(x, key).square()

    (expected,) = torch.autograd.grad(square(x).sum(), x)
    (found,) = torch.autograd.grad(checkpoint(square, x, use_reentrant=False).sum(), x)
    assert torch.equal(found, expected)
    with noise.search() as find:
        find(noise(x, key).sum())
    y = checkpoint(square, x, use_reentrant=False)
    with pytest.raises(InputError, match='AdversarialNoise cannot be in a module with gradient checkpointing'):
        y.sum().backward()


@pytest.mark.parametrize('settings', [dict(scale=-1), dict(step=0), dict(prob=2)])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f'{next(iter(settings))} must be'):
        AdversarialNoise(**settings)
