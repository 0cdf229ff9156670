"""Noise along a virtual adversarial direction."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .base import Noise, at_least_float32, check_features, in_range
from .stream import draw_uniform

# As mmdet's static loss scale, so that gradients in fp16 are not 0; a power of two, so that others are exact.
LOSS_SCALE = 512


def add_along(x: Tensor, direction: Tensor, size: float) -> Tensor:
    r"""Return :math:`x + size \cdot \lVert x \rVert_2 \cdot direction`, with the norm of each sample.

    Shape:
        x, direction and output: (B, C, H, W); the direction has an L2 norm of 1 in each sample.
    """
    wide = at_least_float32(x)
    return torch.addcmul(wide, _norm(wide.detach()), direction, value=size).to(x.dtype)


class AdversarialNoise(Noise):
    r"""Noise in the direction to which the predictions are most sensitive, :math:`y = x + r`.

    In each sample :math:`\lVert r \rVert_2 = scale / \sqrt 3 \cdot \lVert x \rVert_2`,
    which is the power of F-Noise at the same scale. :class:`~fnoise_mmdet.FNoiseTeacher`
    finds the direction by one power iteration: the gradient of its consistency
    loss with respect to a small step along a random direction. In another
    training the direction is random.

    Source: virtual adversarial training (Miyato et al., TPAMI 2018, arXiv
    1704.03976), on the features of an encoder as I-VAT in CCT (Ouali et al.,
    CVPR 2020, arXiv 2003.09005).

    Args:
        scale: Strength of the noise. Defaults to 0.3.
        step: Size of the step along the random direction, relative to the norm of x. Defaults to 0.01.
        prob: Probability of each sample of a batch to be perturbed. Defaults to 1.

    Shape:
        Input and output: (B, C, H, W), any floating dtype.

    Raises:
        ValueError: If a setting is out of range.
    """

    strengths = ('prob', 'scale')

    def __init__(self, scale: float = 0.3, step: float = 0.01, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.scale = in_range('scale', scale, 0)
        self.step = in_range('step', step, 1e-6)
        self._steps: list[Tensor] | None = None  # directions of the steps of a search
        self._found: list[Tensor] | None = None  # directions that the next calls take, in this order

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a random direction, (B, C, H, W), uniformly in a cube as in CCT."""
        direction = draw_uniform(torch.empty(x.shape, device=x.device), generator)
        return direction.div_(_norm(direction))

    def apply_sample(self, x: Tensor, sample: Tensor) -> Tensor:
        return add_along(x, sample, self.scale / 3**0.5)

    @contextlib.contextmanager
    def search(self) -> Iterator[Callable[[Tensor], None]]:
        """In the block, take a small step in each call, and find the direction of the same calls after the block.

        Yields:
            Function that takes the loss of the steps, to be called within the block.
        """
        self._steps, self._found = [], []
        try:
            yield self._find
        finally:
            self._steps = None

    def _find(self, loss: Tensor) -> None:
        if not self._steps:  # e.g. no image has a region
            return
        gradients = torch.autograd.grad(LOSS_SCALE * loss, self._steps, retain_graph=True, allow_unused=True)
        self._found = [
            step.detach() if gradient is None else _normalized(gradient, step.detach())
            for step, gradient in zip(self._steps, gradients)
        ]

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x``; within :meth:`search` by a small step, after it in the direction that was found.

        Raises:
            InputError: If gradient checkpointing repeats a call after a search.
            ValueError: If the features have another shape than in the search.
        """
        if self.is_off:
            return x
        check_features(x, 'features')
        direction, chosen = self._draw(x, key)
        if self._steps is not None:
            self._steps.append(direction.requires_grad_())
            return add_along(x, direction, self.step)
        if self._found is not None and torch._C._current_graph_task_id() != -1:  # within backward, see CallCounter
            raise InputError(
                'AdversarialNoise cannot be in a module with gradient checkpointing, since its direction is found once '
                'per call: choose another place, or turn the checkpointing off'
            )
        if self._found:
            direction = self._found.pop(0)
            if direction.shape != x.shape:
                raise ValueError(
                    f'AdversarialNoise needs features of the same shape in the search and after it, but got '
                    f'{tuple(direction.shape)} and {tuple(x.shape)}'
                )
        y = self.apply_sample(x, direction)
        return y if chosen is None else torch.where(chosen, y, x)


def _norm(x: Tensor) -> Tensor:
    """Return the L2 norm of each sample, (B, 1, 1, 1)."""
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)


def _normalized(direction: Tensor, fallback: Tensor) -> Tensor:
    """Return a direction with an L2 norm of 1 in each sample; the fallback in those where it has none."""
    norm = _norm(direction)
    return torch.where(norm.isfinite() & (norm > 0), direction / norm, fallback)
