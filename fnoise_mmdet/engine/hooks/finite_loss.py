"""Hook that stops at or skips NaN and Inf losses."""

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models.layers import find_noise_layers
from ..distributed import unwrapped

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop the training at a NaN or Inf loss before the weights are updated.

    Args:
        action: ``'stop'`` raises an error with the iteration, the losses and
            their levels; ``'skip'`` logs them and sets the losses of the
            iteration to 0. Defaults to ``'stop'``.

    Raises:
        ValueError: If the action is unknown.
    """

    def __init__(self, action: str = 'stop') -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, but got {action!r}')
        self.action = action
        self.skipped = 0  # iterations
        self._runner: Runner | None = None
        self._handle: Any = None

    def before_train(self, runner: Runner) -> None:
        """Attach the check to the model."""
        self._runner = runner
        self._handle = unwrapped(runner.model).register_forward_hook(self._check)

    def after_train(self, runner: Runner) -> None:
        """Log the number of skipped iterations."""
        self._handle.remove()
        if self.skipped:
            runner.logger.warning(f'skipped {self.skipped} iterations with a non-finite loss')

    def _check(self, model: nn.Module, inputs: Any, losses: Any) -> Any:
        # Predictions, or the losses of a validation.
        if not model.training or not torch.is_grad_enabled() or not isinstance(losses, dict):
            return None
        named = {name: value for name, value in _flatten(losses) if 'loss' in name}
        if not named or torch.stack([value.detach().float().sum() for value in named.values()]).isfinite().all():
            return None
        for layer in find_noise_layers(model):
            layer.finish_check()  # raises if the features are not finite, with their level
        assert self._runner is not None
        broken = [
            f'{name} is {float(value.detach().float().mean())}'
            for name, value in named.items()
            if not value.isfinite().all()
        ]
        where = f'in iteration {self._runner.iter + 1} (epoch {self._runner.epoch + 1}) {", ".join(broken)}'
        if self.action == 'stop':
            raise FloatingPointError(
                f'{where}; lower the learning rate or clip the gradients, or skip such iterations with '
                '--cfg-options custom_hooks.N.action=skip, N being the index of FiniteLossHook in the config'
            )
        self.skipped += 1
        self._runner.logger.warning(f'{where}: skipped')
        nothing = torch.stack([parameter.flatten()[0] for parameter in model.parameters() if parameter.requires_grad])
        return {name: nothing.sum() * 0 if 'loss' in name else value for name, value in losses.items()}


def _flatten(losses: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield each loss with its name, including the level if there are several."""
    for name, value in losses.items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, list | tuple):
            for level, part in enumerate(value):
                yield f'{name} of level {level}', part
