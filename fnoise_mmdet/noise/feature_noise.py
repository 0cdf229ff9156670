"""Feature noise: perturb features in proportion to their magnitude."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import did_you_mean
from .base import Noise, at_least_float32, check_features, in_range
from .fused import UniformFactors, perturb_linear
from .rounding import MANTISSAS, relative_error
from .stream import draw_uniform


def _rms(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return at_least_float32(x).square().mean(dims, keepdim=True).sqrt()


# Magnitudes to which the noise is proportional, broadcastable to (B, C, H, W).
MAGNITUDES = {
    # x instead of |x|, as in CCT's x + x n: eps is symmetric, so the distribution is the same.
    'element': lambda x: x,
    'channel': lambda x: _rms(x, (2, 3)),
    'sample': lambda x: _rms(x, (1, 2, 3)),
    'batch': lambda x: _rms(x, (0, 1, 2, 3)),
    # Divided by sqrt(number of elements), to be independent of the size.
    'l2': lambda x: torch.linalg.vector_norm(at_least_float32(x)) / x.numel() ** 0.5,
    # Not divided: the larger the map, the stronger the noise, as in its source.
    'channel_l2': lambda x: torch.linalg.vector_norm(at_least_float32(x), dim=(2, 3), keepdim=True),
    'mean': lambda x: at_least_float32(x).mean().abs(),
    'one': lambda x: torch.ones((), device=x.device),
}
DISTRIBUTIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    'uniform': draw_uniform,
    'normal': lambda eps, generator: eps.normal_(0, 1, generator=generator),
}
DEVIATIONS = {'uniform': 3**-0.5, 'normal': 1.0}  # of the distributions
MATCH = 'match:'
# The dimensions of (B, C, H, W) in which a shared draw has size 1.
SHARES = {'batch': (0,), 'channel': (1,), 'space': (2, 3)}
BIASES = ('none', 'mean')

# Named settings. Only that of cct is published, in a paper; the others are of public code, or named by an exercise.
PRESETS: dict[str, dict[str, Any]] = {
    # Ouali, Hudelot, Tami, "Semi-Supervised Semantic Segmentation with Cross-Consistency Training",
    # CVPR 2020, arXiv 2003.09005, section 3.2: y = x + x n, n ~ U(-0.3, 0.3) of shape (C, H, W).
    'cct': dict(magnitude='element', distribution='uniform', share='batch', scale=0.3),
    # y = x + n, n ~ N(mean of x, 0.1^2) of shape (H, W): biased and not proportional, a negative
    # control. A solution of the exercise, for the last level of the backbone alone: ``levels=[-1]`` of the neck.
    'mean_normal': dict(magnitude='one', distribution='normal', share=('batch', 'channel'), scale=0.1, bias='mean'),
    # y = x n, n ~ U(0.8, 1.2) for every element. Another solution of it, for the outputs of the FPN:
    # ``position='post'`` of the neck.
    'uniform_20': dict(magnitude='element', distribution='uniform', share='none', scale=0.2),
    # cct with the tensor's norm instead of |x|, which the exercise names: the same noise power at the same scale,
    # spread evenly.
    'l2': dict(magnitude='l2', distribution='uniform', share='batch', scale=0.3),
    # The code of AmirSh15/MaskRCNN_with_F-noise: y = x + 1e-3 n ||x||, n ~ N(0, 1), the norm that of each channel;
    # for the outputs of the FPN: ``position='post'`` of the neck.
    'channel_l2': dict(magnitude='channel_l2', distribution='normal', share='none', scale=1e-3),
}


def add_noise(
    x: Tensor,
    eps: Tensor,
    scale: float,
    magnitude: str = 'element',
    bias: str = 'none',
    detach_statistics: bool = True,
) -> Tensor:
    r"""Return :math:`y = x + scale \cdot magnitude(x) \cdot \epsilon + bias(x)`.

    Args:
        x: Features.
        eps: Random numbers with mean 0.
        scale: Strength of the noise.
        magnitude: Magnitude to which the noise is proportional, see :class:`FeatureNoise`.
        bias: ``'mean'`` adds the mean of x over all elements.
        detach_statistics: Whether statistics of x are constants in the backward pass.

    Shape:
        x: (B, C, H, W). eps: broadcastable to it. Output: (B, C, H, W).
    """
    source = x.detach() if detach_statistics and magnitude != 'element' else x
    strength = MAGNITUDES[magnitude](source)
    if strength.dtype.itemsize > x.dtype.itemsize:  # fp16 cannot hold the L2 norm of a large map
        strength, scale = scale * strength, 1.0
    strength, eps = strength.to(x.dtype), eps.to(x.dtype)
    if bias == 'none':
        return torch.addcmul(x, strength, eps, value=scale)
    mean = at_least_float32(x.detach() if detach_statistics else x).mean().to(x.dtype)
    # A shared draw is smaller than x, so that x is read once.
    return x + torch.addcmul(mean, strength, eps, value=scale)


class FeatureNoise(Noise):
    r"""F-Noise and its relatives: :math:`y = x + scale \cdot magnitude(x) \cdot \epsilon`.

    A preset is a named combination of settings; other settings override those
    of the preset. Only ``'cct'`` is published (Ouali et al., CVPR 2020, arXiv
    2003.09005); ``'mean_normal'``, ``'uniform_20'`` and ``'channel_l2'`` are
    of public code, ``'l2'`` is ``'cct'`` with another magnitude.
    RMS is the root mean square.

    Args:
        preset: Name of a preset. Defaults to ``'cct'``, which is F-Noise.

            - ``'cct'``: :math:`y = x + x n`, :math:`n \sim U(-0.3, 0.3)`, one
              draw of shape (C, H, W) for the whole batch.
            - ``'mean_normal'``: :math:`y = x + n`,
              :math:`n \sim N(\bar x, 0.1^2)`, one draw of shape (H, W) for all
              samples and channels; meant for the last level only.
            - ``'uniform_20'``: :math:`y = x n`, :math:`n \sim U(0.8, 1.2)` for
              every element; meant for the neck's outputs.
            - ``'l2'``: :math:`y = x + 0.3 \lVert x \rVert_2 / \sqrt{N}\,\epsilon`,
              :math:`\epsilon \sim U(-1, 1)`, shared as in ``'cct'``.
            - ``'channel_l2'``: :math:`y = x + 10^{-3} \lVert x_{bc} \rVert_2\,n`,
              :math:`n \sim N(0, 1)` for every element; meant for the neck's outputs.
        magnitude: Magnitude to which the noise is proportional: ``'element'`` the element
            itself; ``'channel'`` RMS over H, W of each (B, C); ``'sample'`` RMS
            over C, H, W; ``'batch'`` RMS over all; ``'l2'`` the tensor's L2 norm
            divided by the root of its number of elements, which is the same as
            ``'batch'``; ``'channel_l2'`` the L2 norm over H, W of each (B, C);
            ``'mean'`` the absolute mean over all; ``'one'`` nothing.
        distribution: Distribution of :math:`\epsilon`: ``'uniform'`` U(-1, 1) or ``'normal'`` N(0, 1).
        share: Axes along which a draw is shared: ``'batch'``, ``'channel'``,
            ``'space'``, a list of several, or ``'none'``.
        scale: Strength of the noise; 0 turns it off. ``'match:e4m3'``, ``'match:e5m2'``, ``'match:e2m1'`` or
            ``'match:power_of_two'`` is the scale at which the noise of magnitude ``'element'`` has the relative
            error of rounding to this format, see :func:`~fnoise_mmdet.noise.rounding.relative_error`.
        bias: ``'mean'`` adds the mean of x over all elements, ``'none'`` nothing.
        detach_statistics: Whether the statistics of x (every magnitude but
            ``'element'``, and the bias) are constants in the backward pass.
            Defaults to True.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Shape:
        Input and output: (B, C, H, W), any floating dtype and memory format.

    Raises:
        ValueError: If a name is unknown, or a number out of range.

    Examples:
        >>> noise = FeatureNoise(scale=0.2)
        >>> x = torch.ones(2, 3, 4, 4)
        >>> y = noise(x)
        >>> bool(((y - x).abs() <= 0.2).all())
        True
        >>> torch.equal(noise(x, key=(0, 1)), noise(x, key=(0, 1)))  # e.g. seed 0, iteration 1
        True
        >>> noise.eval()(x) is x
        True
    """

    strengths = ('prob', 'scale')

    def __init__(
        self,
        preset: str = 'cct',
        *,
        magnitude: str | None = None,
        distribution: str | None = None,
        share: str | Sequence[str] | None = None,
        scale: float | str | None = None,
        bias: str | None = None,
        detach_statistics: bool = True,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        given = dict(magnitude=magnitude, distribution=distribution, share=share, scale=scale, bias=bias)
        settings = {'bias': 'none'} | PRESETS[_one_of('preset', preset, PRESETS)]
        settings |= {name: value for name, value in given.items() if value is not None}
        self.magnitude = _one_of('magnitude', settings['magnitude'], MAGNITUDES)
        self.distribution = _one_of('distribution', settings['distribution'], DISTRIBUTIONS)
        self.share = _axes(settings['share'])
        self.scale = in_range('scale', _matched(settings['scale'], self.distribution), 0)
        self.bias = _one_of('bias', settings['bias'], BIASES)
        self.detach_statistics = detach_statistics

    @property
    def has_opposite(self) -> bool:
        return self.bias == 'none'

    @property
    def _signed_scale(self) -> float:
        return -self.scale if self._is_opposite else self.scale

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw eps, of size 1 along the shared axes."""
        shape = list(x.shape)
        for axis in self.share:
            for dim in SHARES[axis]:
                shape[dim] = 1
        return DISTRIBUTIONS[self.distribution](torch.empty(shape, device=x.device), generator)

    @property
    def _is_linear(self) -> bool:
        """True if the output is linear in the features: backward is then the same operation as forward."""
        # A subclass may override sampling or application.
        plain = type(self) in (FeatureNoise, AntitheticNoise) and self.magnitude == 'element' and self.bias == 'none'
        return plain and not self.is_off

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        if not self._is_linear:
            return super().perturb(x, key)
        check_features(x, 'features')
        return self._perturb_levels([x], [key])[0]

    def _perturb_levels(
        self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]], peaks: Tensor | None = None
    ) -> list[Tensor]:
        if not self._is_linear:
            return super()._perturb_levels(xs, keys, peaks)
        factors = self._factors() if self.prob == 1 and self.distribution == 'uniform' else None
        return perturb_linear(xs, self, keys, factors, peaks)

    def _factors(self) -> UniformFactors | None:
        """Return the factors for the kernels, None if they are in another order."""
        if type(self) is FeatureNoise and self.share in ((), ('batch',)):
            return UniformFactors(self._signed_scale, shared=bool(self.share))
        return None

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return add_noise(x, sample, self._signed_scale, self.magnitude, self.bias, self.detach_statistics)


class AntitheticNoise(FeatureNoise):
    """F-Noise in antithetic pairs: every second sample of a batch has the opposite of the noise of the one before.

    The noise of a batch with an even number of samples has a mean of 0, in
    each element, instead of a random one. A noise that is shared along the
    batch is +n, -n, +n and so on.

    Antithetic variates are those of Hammersley and Morton (1956). SymNoise
    (Yadav and Singh, arXiv 2605.23171) trains language models with such pairs:
    a batch has the embeddings of each text with noise n and with -n. Not in that
    paper, but of this package: noise on the features of images, proportional
    to them, and pairs of different images, so that the batch does not grow.

    Args: as :class:`FeatureNoise`.
    """

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw eps of every second sample, and return it with its opposite."""
        eps = super().sample(x[::2], generator)
        signs = torch.ones(len(x), 1, 1, 1, device=x.device)
        signs[1::2] = -1
        return signs * (eps if 'batch' in self.share else eps.repeat_interleave(2, dim=0)[: len(x)])

    def _factors(self) -> UniformFactors | None:
        if type(self) is AntitheticNoise and self.share == ('batch',):
            return UniformFactors(self._signed_scale, shared=True, alternating=True)
        return None


def feature_noise(
    x: Tensor,
    preset: str = 'cct',
    *,
    training: bool = True,
    key: Sequence[int] | None = None,
    **settings: Any,
) -> Tensor:
    """Perturb features by F-Noise or a relative: the functional form of :class:`FeatureNoise`.

    Args:
        x: Features.
        preset: Name of a preset, see :class:`FeatureNoise`. Defaults to ``'cct'``, which is F-Noise.
        training: Whether to perturb; otherwise ``x`` is returned. Defaults to True.
        key: Names the random numbers, see :meth:`.Noise.forward`.
        **settings: Settings of :class:`FeatureNoise`, such as ``scale``.

    Shape:
        Input and output: (B, C, H, W), any floating dtype and memory format.

    Raises:
        TypeError: If ``x`` is not of a floating dtype.
        ValueError: If a setting is invalid, or ``x`` is not (B, C, H, W), or empty.

    Examples:
        >>> x = torch.ones(2, 3, 4, 4)
        >>> y = feature_noise(x, scale=0.2)
        >>> bool(((y - x).abs() <= 0.2).all())
        True
    """
    return FeatureNoise(preset, **settings).train(training)(x, key)


def _one_of(name: str, value: Any, known: Any) -> str:
    if value not in list(known):  # a list, since the value may be unhashable
        raise ValueError(f'{name} must be one of {list(known)}, but got {value!r}{did_you_mean(str(value), known)}')
    return value


def _matched(scale: Any, distribution: str) -> Any:
    """Return the scale that ``'match:FORMAT'`` stands for, and any other as it is."""
    if not isinstance(scale, str) or not scale.startswith(MATCH):
        return scale
    name = _one_of(f'the format of scale={scale!r}', scale.removeprefix(MATCH), MANTISSAS)
    return relative_error(name) / DEVIATIONS[distribution]


def _axes(share: Any) -> tuple[str, ...]:
    """Return ``share`` as a tuple of axes, in the order of the dimensions."""
    if share == 'none':
        return ()
    axes = [share] if isinstance(share, str) else list(share) if isinstance(share, Sequence) else [share]
    for axis in axes:
        if axis not in list(SHARES):
            raise ValueError(f"share must be 'none' or among {list(SHARES)}, but got {axis!r}")
    if len(set(axes)) < len(axes):
        raise ValueError(f'share must name every axis once, but got {share!r}')
    return tuple(axis for axis in SHARES if axis in axes)
