"""The neck wrapper that puts feature noise between a detector's backbone and its neck."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmengine.utils import is_seq_of
from torch import Tensor

from ..noise import FeatureNoise

MODELS.register_module(module=FeatureNoise)

POSITIONS = ('pre', 'post')


@MODELS.register_module()
class FNoiseNeck(BaseModule):
    """Perturb what goes into a neck, or what comes out of it, in training only.

    In evaluation mode, or with a noise of scale 0, the very same tensors go
    through. The wrapper is invisible in checkpoints: the keys of its state
    dict are the inner neck's, so that weights go either way between a plain
    detector and one with noise.

    The noise of a level is a function of (seed, rank, iteration, call, level):
    seed and iteration are the runner's, a call is one forward pass of the neck
    within an iteration. A pass that gradient checkpointing repeats gets the
    noise of the pass that it repeats. Outside a runner the seed and iteration
    are 0, and the calls go on counting.

    Args:
        neck: Config of the inner neck.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``,
            which is CCT's F-Noise.
        levels: Indices of the levels to perturb, negative ones counted from
            the last. Defaults to None, which is every level.
        position: ``'pre'`` perturbs the inner neck's inputs, ``'post'`` its
            outputs. Defaults to ``'pre'``.

    Shape:
        As the inner neck's: a sequence of (B, C_i, H_i, W_i) in, a tuple of
        (B, C, H_j, W_j) out.

    Raises:
        ValueError: The position is unknown, or a level is no index or does not exist.
    """

    def __init__(
        self,
        neck: dict[str, Any],
        noise: dict[str, Any] | None = None,
        levels: Sequence[int] | None = None,
        position: str = 'pre',
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f'position must be one of {POSITIONS}, but got {position!r}')
        if levels is not None and not is_seq_of(levels, int):
            raise ValueError(f'levels must be a list of integers, but got {levels!r}')
        self.neck = MODELS.build(neck)
        self.noise = MODELS.build(noise or dict(type='FeatureNoise'))
        self.levels = None if levels is None else tuple(levels)
        self.position = position
        # A wrong level should be told before the first batch, where the neck says how many there are.
        num_levels = (
            len(getattr(self.neck, 'in_channels', ())) if position == 'pre' else getattr(self.neck, 'num_outs', 0)
        )
        if num_levels:
            self._perturbed_levels(num_levels)

        self._iteration = -1
        self._fingerprints: list[Tensor] = []  # of this iteration's passes
        self._register_state_dict_hook(_leave_out_wrapper)
        self._register_load_state_dict_pre_hook(_put_in_wrapper)

    def forward(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Run the inner neck, with noise before or after it in training mode."""
        if not self.training:
            return self.neck(inputs)
        if self.position == 'pre':
            return self.neck(self._perturb(inputs, self._count_call(inputs), self.noise))
        outputs = self.neck(inputs)
        return self._perturb(outputs, self._count_call(outputs), self.noise)

    def preview(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give the features that the first call of this iteration would give in training mode.

        Args:
            features: What is perturbed: the inner neck's inputs or its
                outputs, as ``position`` says.
        """
        return self._perturb(features, 0, self.noise.perturb)

    def _perturb(
        self, features: Sequence[Tensor], call: int, noise: Callable[[Tensor, Sequence[int]], Tensor]
    ) -> tuple[Tensor, ...]:
        hub = MessageHub.get_current_instance()
        key = (hub.get_info('seed', 0), get_rank(), hub.get_info('iter', 0), call)
        levels = self._perturbed_levels(len(features))
        return tuple(noise(x, (*key, level)) if level in levels else x for level, x in enumerate(features))

    def _perturbed_levels(self, num_levels: int) -> set[int]:
        """Resolve ``levels`` to indices from 0."""
        if self.levels is None:
            return set(range(num_levels))
        for level in self.levels:
            if not -num_levels <= level < num_levels:
                raise ValueError(
                    f'levels must be in [{-num_levels}, {num_levels - 1}] for {num_levels} levels, but got {level}'
                )
        return {level % num_levels for level in self.levels}

    def _count_call(self, features: Sequence[Tensor]) -> int:
        """Give the number of this forward pass within its iteration, from 0.

        A pass within backward is one that gradient checkpointing repeats. It
        is known again by a fingerprint of its features, the nearest one taken
        because convolutions on a GPU may differ in the last bit.
        """
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        if iteration != self._iteration:
            self._iteration, self._fingerprints = iteration, []
        fingerprint = features[-1].detach().mean(dtype=torch.float32)
        if torch._C._current_graph_task_id() == -1:  # as torch.utils.checkpoint asks
            self._fingerprints.append(fingerprint)
            return len(self._fingerprints) - 1
        return int((torch.stack(self._fingerprints) - fingerprint).abs().argmin())

    def extra_repr(self) -> str:
        return f'levels={self.levels}, position={self.position!r}'


def _leave_out_wrapper(module: FNoiseNeck, state_dict: dict[str, Any], prefix: str, local_metadata: dict) -> None:
    """Save under the keys of the plain detector: ``{prefix}neck.x`` becomes ``{prefix}x``."""
    for content in (state_dict, getattr(state_dict, '_metadata', {})):
        inner = f'{prefix}neck.'
        for key in [key for key in content if key.startswith(inner)]:
            content[prefix + key[len(inner) :]] = content.pop(key)


def _put_in_wrapper(state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load from the keys of the plain detector: ``{prefix}x`` becomes ``{prefix}neck.x``."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f'{prefix}neck.{key[len(prefix) :]}'] = state_dict.pop(key)
