"""Noises that perturb the mean and the standard deviation of each channel.

They decompose each (B, C) channel into mean + standard deviation x normalized
features over H and W, and perturb the statistics (the style of an image) but
not the normalized features (its content). So the output of a channel is affine
in its features, with coefficients that depend on the statistics.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .base import Noise, at_least_float32, check_features, in_range

EPS = 1e-6  # added to variances, as in the published code of DSU and MixStyle


Coefficients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def restyle(x: Tensor, coefficients: Coefficients, chosen: Tensor | None = None) -> Tensor:
    r"""Return :math:`y = a x + b` with coefficients that are a function of the statistics of each channel.

    One pass over the features for their statistics and one for y, in the
    backward pass likewise. Only x is saved, and only if the coefficients
    depend on the statistics.

    Args:
        x: Features.
        coefficients: Returns a and b of the means and the standard deviations of x.
        chosen: Samples to perturb, bool; the others are unchanged. Defaults to None, which is all.

    Shape:
        x and output: (B, C, H, W). Means, standard deviations, a and b: (B, C, 1, 1). chosen: (B, 1, 1, 1).
    """
    y: Tensor = _Restyle.apply(x, coefficients, chosen)
    return y


class _Restyle(torch.autograd.Function):
    """Autograd function of :func:`restyle`, whose intermediate results have one element per channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Coefficients, chosen: Tensor | None) -> Tensor:
        wide = at_least_float32(x)
        mean = wide.mean((2, 3), keepdim=True)
        # On a CPU, torch.var takes fifty times as long as a copy, and this twice.
        centred = wide - mean
        square = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True).square()
        variance = square / max(x[0, 0].numel() - 1, 1)
        with torch.enable_grad():
            statistics = mean.requires_grad_(), (variance + EPS).sqrt().requires_grad_()
            a, b = coefficients(*statistics)
            if chosen is not None:
                a, b = torch.where(chosen, a, 1.0), torch.where(chosen, b, 0.0)
        # Faster than addcmul with numbers per channel, and than to allocate y.
        y = torch.mul(wide, a.detach(), out=centred).add_(b.detach()).to(x.dtype)
        ctx.statistics, ctx.coefficients = statistics, (a, b)
        ctx.save_for_backward(*[x] if a.requires_grad or _depends(b, statistics[1]) else [])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (a, b), (mean, deviation) = ctx.coefficients, ctx.statistics
        wide = at_least_float32(gradient)
        x = at_least_float32(ctx.saved_tensors[0]) if ctx.saved_tensors else None
        of_outputs = {}
        if x is not None:
            of_outputs = {output: found for output, found in zip((a, b), _sums(wide, x)) if output.requires_grad}
        elif b.requires_grad:
            of_outputs[b] = wide.sum((2, 3), keepdim=True)
        of_mean = of_deviation = None
        if of_outputs:
            of_mean, of_deviation = torch.autograd.grad(
                list(of_outputs), [mean, deviation], list(of_outputs.values()), retain_graph=True, allow_unused=True
            )
        count = gradient[0, 0].numel()
        slope = constant = torch.zeros_like(mean)
        if of_mean is not None:
            constant = constant + of_mean / count
        if of_deviation is not None:  # d s / d x = (x - m) / ((count - 1) s)
            slope = of_deviation / (max(count - 1, 1) * deviation.detach())
            constant = constant - slope * mean.detach()
        found = torch.mul(wide, a.detach()).add_(constant)
        if of_deviation is not None:
            assert x is not None
            found.addcmul_(x, slope)
        return found.to(gradient.dtype), None, None


def _sums(gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of gradient * x and of the gradient over each channel, (B, C, 1, 1) each, in one pass.

    They are the gradients of weight and bias of a normalization with mean 0 and standard deviation 1, for which torch
    has a kernel that does not store the product.
    """
    batch, channels, height, width = x.shape
    count = batch * channels
    flat = [tensor.contiguous().view(1, count, height, width) for tensor in (gradient, x)]  # the kernel assumes it
    ones = x.new_ones(count)
    _, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
        *flat, torch.zeros_like(ones)[None], ones[None], ones, 1, count, height * width, count, [False, True, True]
    )
    return of_weight.view(batch, channels, 1, 1), of_bias.view(batch, channels, 1, 1)


def _depends(output: Tensor, on: Tensor) -> bool:
    """Return whether an output has a gradient with respect to a tensor."""
    if not output.requires_grad:
        return False
    (found,) = torch.autograd.grad(output, on, torch.ones_like(output), retain_graph=True, allow_unused=True)
    return found is not None


def _spread(values: Tensor) -> Tensor:
    """Return the standard deviation over the batch; sqrt(EPS) instead of NaN for one sample."""
    return (values.var(0, correction=min(1, len(values) - 1), keepdim=True) + EPS).sqrt()


class _StatisticsNoise(Noise):
    """Noise by :func:`restyle`."""

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        if self.is_off:
            return x
        check_features(x, 'features')
        sample, chosen = self._draw(x, key)
        return restyle(x, self.coefficients(sample), chosen)

    def apply_sample(self, x: Tensor, sample: Any) -> Tensor:
        return restyle(x, self.coefficients(sample))

    def coefficients(self, sample: Any) -> Coefficients:
        """Return the coefficients of :func:`restyle` for a draw."""
        raise NotImplementedError


def perturb_normalization(a: Tensor, b: Tensor) -> Coefficients:
    r"""Return the coefficients of :math:`y = a (x - m) + b m`, m the mean of each channel.

    Source: Normalization Perturbation, Fan et al., "Towards Robust Object
    Detection Invariant to Real-World Domain Shifts", ICLR 2023.

    Shape:
        a, b: (B, C, 1, 1).
    """

    def coefficients(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        wide = a.to(mean.dtype)
        return wide, (b - wide) * mean

    return coefficients


class NormalizationPerturbation(_StatisticsNoise):
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

    def coefficients(self, sample: Tensor) -> Coefficients:
        return perturb_normalization(*sample)


def perturb_statistics(e1: Tensor, e2: Tensor) -> Coefficients:
    r"""Return the coefficients of :math:`y = (s + e_1 \sigma_B(s)) (x - m) / s + m + e_2 \sigma_B(m)`.

    m and s are the mean and the standard deviation of each channel,
    :math:`\sigma_B` the standard deviation over the batch (with 1e-6 added to
    the variance; sqrt(1e-6) for a single sample).

    Source: DSU, Li et al., "Uncertainty Modeling for Out-of-Distribution
    Generalization", ICLR 2022, arXiv 2202.03958.

    Shape:
        e1, e2: (B, C, 1, 1).
    """

    def coefficients(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        a = 1 + e1 * _spread(deviation) / deviation
        return a, (1 - a) * mean + e2 * _spread(mean)

    return coefficients


class DSU(_StatisticsNoise):
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

    def coefficients(self, sample: Tensor) -> Coefficients:
        return perturb_statistics(*sample)


def mix_statistics(weight: Tensor, partner: Tensor) -> Coefficients:
    r"""Return the coefficients that mix the statistics of each sample with those of another one.

    :math:`y = s' (x - m) / s + m'` with :math:`m' = w m + (1 - w) m_{partner}`
    and :math:`s'` likewise; m and s, the mean and the standard deviation of
    each channel, are constants in the backward pass.

    Source: MixStyle, Zhou et al., "Domain Generalization with MixStyle",
    ICLR 2021, arXiv 2104.02008.

    Shape:
        weight: (B, 1, 1, 1). partner: (B,), indices of samples.
    """

    def coefficients(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = mean.detach(), deviation.detach()
        a = weight + (1 - weight) * deviation[partner] / deviation
        return a, weight * mean + (1 - weight) * mean[partner] - a * mean

    return coefficients


class MixStyle(_StatisticsNoise):
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

    def coefficients(self, sample: tuple[Tensor, Tensor]) -> Coefficients:
        return mix_statistics(*sample)
