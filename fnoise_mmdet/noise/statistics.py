"""Noises that perturb the mean and the standard deviation of each channel.

They decompose each (B, C) channel into mean + standard deviation x normalized
features over H and W, and perturb the statistics (the style of an image) but
not the normalized features (its content).
"""

import numpy as np
import torch
from torch import Tensor

from .base import Noise, at_least_float32, in_range

EPS = 1e-6  # added to variances, as in the published code of DSU and MixStyle


def _deviation(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the standard deviation over dimensions, keeping them; sqrt(EPS) instead of NaN for one element."""
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    return (x.var(dims, correction=min(1, count - 1), keepdim=True) + EPS).sqrt()


def _mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((2, 3), keepdim=True), _deviation(x, (2, 3))


def perturb_normalization(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    r"""Return :math:`y = a (x - m) + b m`, m the mean of each channel.

    Source: Normalization Perturbation, Fan et al., "Towards Robust Object
    Detection Invariant to Real-World Domain Shifts", ICLR 2023.

    Shape:
        x: (B, C, H, W). a, b: (B, C, 1, 1). Output: (B, C, H, W).
    """
    wide = at_least_float32(x)
    mean = wide.mean((2, 3), keepdim=True)
    return (a * (wide - mean) + b * mean).to(x.dtype)


class NormalizationPerturbation(Noise):
    """Normalization Perturbation, see :func:`perturb_normalization`.

    Args:
        std: Standard deviation of a and b, which are drawn from N(1, std²) for
            each channel of each sample; 0 disables the noise. Defaults to 0.75, as in the paper.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    strengths = ('prob', 'std')

    def __init__(self, std: float = 0.75, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.std = in_range('std', std, 0)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.empty(2, *x.shape[:2], 1, 1, device=x.device).normal_(1, self.std, generator=generator)

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return perturb_normalization(x, *sample)


def perturb_statistics(x: Tensor, e1: Tensor, e2: Tensor) -> Tensor:
    r"""Return :math:`y = (s + e_1 \sigma_B(s)) (x - m) / s + m + e_2 \sigma_B(m)`.

    m and s are the mean and the standard deviation of each channel,
    :math:`\sigma_B` the standard deviation over the batch, 0 but for a
    millionth of variance where the batch is one sample.

    Source: DSU, Li et al., "Uncertainty Modeling for Out-of-Distribution
    Generalization", ICLR 2022, arXiv 2202.03958.

    Shape:
        x: (B, C, H, W). e1, e2: (B, C, 1, 1). Output: (B, C, H, W).
    """
    wide = at_least_float32(x)
    mean, deviation = _mean_and_deviation(wide)
    new_deviation = deviation + e1 * _deviation(deviation, (0,))
    new_mean = mean + e2 * _deviation(mean, (0,))
    return (new_deviation * ((wide - mean) / deviation) + new_mean).to(x.dtype)


class DSU(Noise):
    """DSU, see :func:`perturb_statistics`; e1 and e2 are drawn from N(0, 1).

    Args:
        prob: Probability of each sample of a batch to be perturbed. Defaults
            to 0.5, as in the paper, where it applies to the whole batch.

    Raises:
        ValueError: If the probability is out of range.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.empty(2, *x.shape[:2], 1, 1, device=x.device).normal_(generator=generator)

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return perturb_statistics(x, *sample)


def mix_statistics(x: Tensor, weight: Tensor, partner: Tensor) -> Tensor:
    r"""Mix the statistics of each sample with those of another one.

    :math:`y = s' (x - m) / s + m'` with :math:`m' = w m + (1 - w) m_{partner}`
    and :math:`s'` likewise; m and s, the mean and the standard deviation of
    each channel, are constants in the backward pass.

    Source: MixStyle, Zhou et al., "Domain Generalization with MixStyle",
    ICLR 2021, arXiv 2104.02008.

    Shape:
        x: (B, C, H, W). weight: (B, 1, 1, 1). partner: (B,), indices of samples. Output: (B, C, H, W).
    """
    wide = at_least_float32(x)
    mean, deviation = _mean_and_deviation(wide.detach())
    new_mean = weight * mean + (1 - weight) * mean[partner]
    new_deviation = weight * deviation + (1 - weight) * deviation[partner]
    return (new_deviation * ((wide - mean) / deviation) + new_mean).to(x.dtype)


class MixStyle(Noise):
    """MixStyle, see :func:`mix_statistics`; partners are a permutation of the batch.

    Args:
        alpha: The weight of each sample is drawn from Beta(alpha, alpha). Defaults to 0.1, as in the paper.
        prob: Probability of each sample of a batch to be perturbed. Defaults
            to 0.5, as in the paper, where it applies to the whole batch.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, alpha: float = 0.1, prob: float = 0.5) -> None:
        super().__init__(prob)
        if in_range('alpha', alpha, 0) == 0:
            raise ValueError('alpha must be > 0, but got 0')
        self.alpha = alpha

    def sample(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw weights and partners."""
        # torch's Beta distribution does not take a generator.
        rng = np.random.default_rng(generator.initial_seed())
        weight = torch.from_numpy(rng.beta(self.alpha, self.alpha, (len(x), 1, 1, 1))).to(x.device, torch.float32)
        return weight, torch.randperm(len(x), generator=generator, device=x.device)

    def apply_sample(self, x: Tensor, sample: tuple[Tensor, Tensor]) -> Tensor:
        return mix_statistics(x, *sample)
