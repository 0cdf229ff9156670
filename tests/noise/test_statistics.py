import numpy as np
import pytest
import torch

from fnoise_mmdet.noise import DSU, MixStyle, NormalizationPerturbation, make_generator
from fnoise_mmdet.noise.statistics import EPS, mix_statistics, perturb_normalization, perturb_statistics, restyle


def mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    mean = sum(values.flat) / values.size
    variance = sum((v - mean) ** 2 for v in values.flat) / (values.size - 1)
    return mean, (variance + EPS) ** 0.5


def draws(noise, x, key) -> list[np.ndarray]:
    return [one.double().numpy() for one in noise.sample(x, make_generator(key))]


def test_normalization_perturbation_is_its_formula(x, key):
    """y = a (x - m) + b m for each channel of each sample."""
    a, b = draws(NormalizationPerturbation(), x, key)
    expected = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        m, _ = mean_and_deviation(x[n, c].numpy())
        expected[n, c, i, j] = a[n, c, 0, 0] * (x[n, c, i, j].item() - m) + b[n, c, 0, 0] * m
    np.testing.assert_allclose(NormalizationPerturbation()(x, key).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_normalization_perturbation_draws_from_the_paper_s_distribution(key):
    a, b = NormalizationPerturbation().sample(torch.ones(100, 200, 1, 1), make_generator(key))
    for one in (a, b):
        # 20,000 draws: standard errors 0.0053 and 0.0038; 5 of them.
        assert one.shape == (100, 200, 1, 1)
        assert one.mean() == pytest.approx(1, abs=0.027) and one.std() == pytest.approx(0.75, abs=0.019)
    assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.036


def test_dsu_is_its_formula(x, key):
    """y = (s + e1 std_B(s)) (x - m) / s + m + e2 std_B(m)."""
    e1, e2 = draws(DSU(), x, key)
    statistics = np.array([[mean_and_deviation(x[n, c].numpy()) for c in range(4)] for n in range(3)])
    expected = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        m, s = statistics[n, c]
        _, spread_m = mean_and_deviation(statistics[:, c, 0])
        _, spread_s = mean_and_deviation(statistics[:, c, 1])
        pattern = (x[n, c, i, j].item() - m) / s
        expected[n, c, i, j] = (s + e1[n, c, 0, 0] * spread_s) * pattern + m + e2[n, c, 0, 0] * spread_m
    np.testing.assert_allclose(DSU(prob=1)(x, key).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_dsu_leaves_a_batch_of_one_as_it_is(x, key):
    y = DSU(prob=1)(x[:1], key)
    # No spread over the batch: what is left is the square root of EPS, times a few normal draws.
    assert (y - x[:1]).abs().max() < 10 * EPS**0.5


def test_mix_style_is_its_formula(x, key):
    """y = s' (x - m) / s + m', statistics mixed with those of the partner."""
    weight, partner = MixStyle().sample(x, make_generator(key))
    partner = torch.tensor([1, 2, 0])
    expected = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        m, s = mean_and_deviation(x[n, c].numpy())
        other_m, other_s = mean_and_deviation(x[partner[n], c].numpy())
        w = weight[n, 0, 0, 0].item()
        new_m, new_s = w * m + (1 - w) * other_m, w * s + (1 - w) * other_s
        expected[n, c, i, j] = new_s * (x[n, c, i, j].item() - m) / s + new_m
    np.testing.assert_allclose(restyle(x, mix_statistics(weight, partner)).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_mix_style_draws_beta_weights_and_permutations(key):
    weight, partner = MixStyle().sample(torch.ones(20000, 1, 1, 1), make_generator(key))
    assert torch.equal(partner.sort().values, torch.arange(20000))
    # Beta(0.1, 0.1): mean 1/2, variance 1 / (4 * 1.2); standard errors 0.0032 and, of the variance, 0.001; 6 of them.
    assert weight.mean() == pytest.approx(0.5, abs=0.02)
    assert weight.var() == pytest.approx(1 / 4.8, abs=0.006)


def test_mix_style_holds_statistics_constant_in_the_backward_pass(x, key):
    weight, partner = torch.full((3, 1, 1, 1), 0.5), torch.tensor([1, 2, 0])
    x.requires_grad_()
    restyle(x, mix_statistics(weight, partner)).sum().backward()
    deviation = (x.detach().var((2, 3), keepdim=True) + EPS).sqrt()
    expected = (0.5 * deviation + 0.5 * deviation[partner]) / deviation
    torch.testing.assert_close(x.grad, expected.expand_as(x))


@pytest.mark.parametrize(
    'function',
    [
        lambda x: restyle(x, perturb_normalization(torch.full((3, 4, 1, 1), 1.3), torch.full((3, 4, 1, 1), 0.6))),
        lambda x: restyle(x, perturb_statistics(torch.full((3, 4, 1, 1), 1.3), torch.full((3, 4, 1, 1), -0.6))),
    ],
    ids=['perturb_normalization', 'perturb_statistics'],
)
def test_gradient_is_that_of_the_formula(x, function):
    assert torch.autograd.gradcheck(function, x.requires_grad_())


@pytest.mark.parametrize(
    'layout',
    [
        lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
        lambda tensor: tensor[:1, :1].expand(3, 4, 5, 6),
    ],
    ids=['channels_last', 'expanded'],
)
def test_gradient_does_not_depend_on_the_memory_layout(x, key, layout):
    noise = DSU(prob=1)
    values, gradient = layout(x), layout(x.flip(2))

    def of(x, gradient):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(noise(x, key), x, gradient)[0]

    torch.testing.assert_close(
        of(values, gradient), of(values.clone(memory_format=torch.contiguous_format), gradient.contiguous())
    )


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: NormalizationPerturbation(std=-1), 'std must be >= 0 and finite, but got -1'),
        (lambda: MixStyle(alpha=0), 'alpha must be > 0, but got 0'),
        (lambda: MixStyle(alpha=float('nan')), 'alpha must be >= 0 and finite, but got nan'),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
