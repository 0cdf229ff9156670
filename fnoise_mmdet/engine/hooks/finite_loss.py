"""What happens when a loss turns NaN or Inf."""

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models.necks import find_fnoise_necks

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop the training at a loss that is NaN or Inf, before it reaches the weights.

    Args:
        action: ``'stop'`` raises an error that names the iteration, the losses
            and their levels; ``'skip'`` names them in the log, has the
            iteration count as one without loss, and goes on. Defaults to ``'stop'``.

    Raises:
        ValueError: The action is unknown.
    """

    def __init__(self, action: str = 'stop') -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, but got {action!r}')
        self.action = action
        self.skipped = 0  # iterations
        self._runner: Runner | None = None
        self._handle: Any = None

    def before_train(self, runner: Runner) -> None:
        """Look at what the model gives from now on."""
        self._runner = runner
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._handle = model.register_forward_hook(self._check)

    def after_train(self, runner: Runner) -> None:
        """Say how many iterations were skipped."""
        self._handle.remove()
        if self.skipped:
            runner.logger.warning(f'{self.skipped} iterations had a loss that is not finite, and were skipped')

    def _check(self, model: nn.Module, inputs: Any, losses: Any) -> Any:
        if not model.training or not isinstance(losses, dict):  # predictions
            return None
        named = {name: value for name, value in _flatten(losses) if 'loss' in name}
        if not named or torch.stack([value.detach().float().sum() for value in named.values()]).isfinite().all():
            return None
        for neck in find_fnoise_necks(model):
            neck.finish_check()  # which names the level that it came from
        assert self._runner is not None
        broken = [
            f'{name} is {float(value.detach().float().mean())}'
            for name, value in named.items()
            if not value.isfinite().all()
        ]
        where = f'in iteration {self._runner.iter + 1} (epoch {self._runner.epoch + 1}) {", ".join(broken)}'
        if self.action == 'stop':
            raise FloatingPointError(
                f'{where}; lower the learning rate or clip the gradients, or go on with '
                '--cfg-options custom_hooks.N.action=skip for the place N of FiniteLossHook in the config'
            )
        self.skipped += 1
        self._runner.logger.warning(f'{where}: skipped')
        nothing = torch.stack([parameter.flatten()[0] for parameter in model.parameters() if parameter.requires_grad])
        return {name: nothing.sum() * 0 if 'loss' in name else value for name, value in losses.items()}


def _flatten(losses: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Return each loss, those of several levels with the level."""
    for name, value in losses.items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, list | tuple):
            for level, part in enumerate(value):
                yield f'{name} of level {level}', part
