"""Noises that set parts of a feature map to zero: attended positions, blocks, channels.

torch, torchvision and mmdet also have DropBlock or channel dropout, but draw
from torch's global stream, which breaks paired comparisons. Tests compare the
application of a draw to mmdet and torch.
"""

import torch
from torch import Tensor

from .base import Noise, in_range
from .fused import LinearNoise


def f_drop(x: Tensor, threshold: Tensor) -> Tensor:
    r"""Drop the most attended positions of a feature map, without rescaling.

    With the mean :math:`a` of x over its channels, a position is kept where
    :math:`a < threshold \cdot \max a`, the maximum being that of the sample.

    Source: F-Drop in Ouali, Hudelot, Tami, "Semi-Supervised Semantic
    Segmentation with Cross-Consistency Training", CVPR 2020,
    arXiv 2003.09005, section 3.2.

    Shape:
        x: (B, C, H, W). threshold: broadcastable to (B, 1, 1, 1). Output: (B, C, H, W).
    """
    attention = x.detach().mean(dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x * (attention < threshold * attention.amax(dim=(2, 3), keepdim=True))


class FDrop(Noise):
    """F-Drop of Cross-Consistency Training, see :func:`f_drop`.

    Args:
        low: Lower end of the uniform distribution of the threshold, which is
            drawn once per batch. Defaults to 0.7.
        high: Upper end. Defaults to 0.9.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Raises:
        ValueError: If a setting is out of range, or ``low`` > ``high``.
    """

    def __init__(self, low: float = 0.7, high: float = 0.9, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.low = in_range('low', low, 0, 1)
        self.high = in_range('high', high, 0, 1)
        if low > high:
            raise ValueError(f'low must be <= high, but got {low} and {high}')

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.empty((), device=x.device).uniform_(self.low, self.high, generator=generator)

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return f_drop(x, sample)


def sparse_bernoulli(count: int, probability: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw which of ``count`` independent events of a small probability happen, without drawing each.

    The gaps between those that happen are geometrically distributed.

    Returns:
        Their indices in ascending order, int64, followed by some that are ``count``.
    """
    if probability >= 1:
        return torch.arange(count, device=device)
    expected = count * probability
    number = int(expected + 10 * expected**0.5 + 10)  # more happen with a probability below 1e-20
    gaps = torch.empty(number, dtype=torch.float64, device=device).geometric_(probability, generator=generator)
    return (gaps.cumsum(0) - 1).clamp(max=count).long()


def drop_blocks(x: Tensor, corners: Tensor, block_size: int) -> Tensor:
    r"""Drop square blocks, and rescale the rest by (number of positions) / (positions kept).

    Source: Ghiasi, Lin, Le, "DropBlock: A regularization method for
    convolutional networks", NeurIPS 2018, arXiv 1810.12890, algorithm 1.

    Args:
        x: Features.
        corners: Indices of the first row and column of each block to drop, in the flattened
            (B, C, H - block_size + 1, W - block_size + 1); the number of its elements stands for none.
        block_size: Rows and columns of a block.

    Shape:
        x: (B, C, H, W). corners: (N,). Output: (B, C, H, W).
    """
    _, channels, height, width = x.shape
    columns = width - block_size + 1
    per_map = (height - block_size + 1) * columns
    # Places in memory, in the format of x.
    strides = torch.empty_like(x, device='meta').stride()
    # Where there is none, the block lies behind the last map.
    place, rest = corners // per_map, corners % per_map
    first = place // channels * strides[0] + place % channels * strides[1]
    first += rest // columns * strides[2] + rest % columns * strides[3]
    within = torch.arange(block_size, device=x.device)
    block = (within[:, None] * strides[2] + within * strides[3]).flatten()
    behind = (block_size - 1) * (strides[2] + strides[3]) + 1
    dropped = torch.zeros(x.numel() + behind, dtype=torch.bool, device=x.device)
    dropped.index_fill_(0, (first[:, None] + block).flatten(), True)
    dropped = dropped[: x.numel()].as_strided(x.shape, strides)
    kept = x.numel() - torch.count_nonzero(dropped)  # several times as fast as a sum on a CPU
    # On a CPU several times as fast as to fill x where it is dropped.
    return torch.where(dropped, 0, x).mul_((x.numel() / kept.clamp(min=1)).to(x.dtype))


class FeatureDropBlock(LinearNoise):
    r"""DropBlock, see :func:`drop_blocks`, with independent blocks per channel.

    The name DropBlock is already registered by mmdet.

    Corners of blocks are drawn with the probability
    :math:`\gamma = \frac{p}{s^2} \cdot \frac{H W}{(H - s + 1)(W - s + 1)}` for
    blocks of s rows and columns, at most H and W.

    Args:
        drop_prob: Fraction of positions to drop, p. Defaults to 0.1, as in the paper.
        block_size: Height and width of a block. Defaults to 7, as in the paper.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    strengths = ('prob', 'drop_prob')

    def __init__(self, drop_prob: float = 0.1, block_size: int = 7, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.drop_prob = in_range('drop_prob', drop_prob, 0, 1)
        if not isinstance(block_size, int) or isinstance(block_size, bool) or block_size < 1:
            raise ValueError(f'block_size must be an integer >= 1, but got {block_size!r}')
        self.block_size = block_size

    def _block_size(self, x: Tensor) -> int:
        return min(self.block_size, *x.shape[2:])

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        size = self._block_size(x)
        height, width = x.shape[2:]
        rows, columns = height - size + 1, width - size + 1
        gamma = min(1.0, self.drop_prob / size**2 * height * width / (rows * columns))
        return sparse_bernoulli(x.shape[0] * x.shape[1] * rows * columns, gamma, generator, x.device)

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return drop_blocks(x, sample, self._block_size(x))


def drop_channels(x: Tensor, kept: Tensor, drop_prob: float) -> Tensor:
    """Drop whole channels, and rescale the others by 1 / (1 - drop_prob).

    Source: Tompson et al., "Efficient object localization using convolutional
    networks", CVPR 2015, arXiv 1411.4280 (torch's ``Dropout2d``); on features
    of a network under perturbation in CCT, arXiv 2003.09005, and UniMatch,
    arXiv 2208.09910. Both train with a drop_prob of 0.5; 0.3 is the default of
    CCT's class.

    Shape:
        x: (B, C, H, W). kept: (B, C, 1, 1), 1 or 0. Output: (B, C, H, W).
    """
    return x * (kept / (1 - drop_prob)).to(x.dtype)


class ChannelDropout(Noise):
    """Channel dropout, see :func:`drop_channels`.

    Args:
        drop_prob: Probability of each channel of each sample to be dropped,
            below 1. Defaults to 0.3, as in CCT's class.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    strengths = ('prob', 'drop_prob')

    def __init__(self, drop_prob: float = 0.3, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.drop_prob = in_range('drop_prob', drop_prob, 0, 1)
        if drop_prob == 1:
            raise ValueError('drop_prob must be < 1: no channel would be left')

    @property
    def has_opposite(self) -> bool:
        """The opposite drops the channels that were kept, and the other way round.

        Source: complementary dropout of UniMatch V2 (Yang et al., arXiv 2410.10777), whose probability is 0.5.
        """
        return True

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.empty(*x.shape[:2], 1, 1, device=x.device).bernoulli_(1 - self.drop_prob, generator=generator)

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        if self._is_opposite:
            return drop_channels(x, 1 - sample, 1 - self.drop_prob)
        return drop_channels(x, sample, self.drop_prob)
