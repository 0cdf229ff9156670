"""Hook that schedules the strength of the noise."""

from collections.abc import Sequence
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from ...errors import InputError
from ...models.layers import find_noise_layers
from ...noise import Noise
from ...noise.schedule import check_schedule, schedule_factor


@HOOKS.register_module()
class NoiseScheduleHook(Hook):
    """Schedule the strength of F-Noise over the training, and log it.

    The strength is the configured value times a factor from 0 to 1, see
    :func:`fnoise_mmdet.noise.schedule_factor`. The factor depends on the
    iteration or epoch alone, so resuming is exact. It is logged as
    ``noise_scale``, or ``noise_`` followed by the other setting.

    Args:
        schedule: ``'constant'``, ``'linear'``, ``'cosine'`` or ``'step'``.
        setting: Setting of the noise to schedule, at 0 of which it is off: ``'scale'`` of FeatureNoise,
            ``'drop_prob'`` of ChannelDropout, or ``'prob'`` of any. Defaults to ``'scale'``.
        by_epoch: Whether steps are epochs instead of iterations, in epoch-based training only. Defaults to False.
        begin: First step of the schedule, before which the factor is ``start_factor``. Defaults to 0.
        end: Step at which ``end_factor`` is reached. Defaults to the end of the training.
        start_factor: Factor up to ``begin``. Defaults to 0.
        end_factor: Factor from ``end`` on. Defaults to 1.
        milestones: Steps at which ``'step'`` multiplies by ``gamma``, increasing.
        gamma: Multiplier of ``'step'``. Defaults to 0.1.

    Raises:
        ValueError: If a setting is unknown or out of range.
    """

    priority = 'HIGH'  # before the hooks that visualize the noise

    def __init__(
        self,
        schedule: str,
        *,
        setting: str = 'scale',
        by_epoch: bool = False,
        begin: int = 0,
        end: int | None = None,
        start_factor: float = 0.0,
        end_factor: float = 1.0,
        milestones: Sequence[int] = (),
        gamma: float = 0.1,
    ) -> None:
        self.setting = setting
        self.by_epoch = by_epoch
        self.end = end
        self._settings: dict[str, Any] = dict(
            schedule=schedule,
            begin=begin,
            start_factor=start_factor,
            end_factor=end_factor,
            milestones=milestones,
            gamma=gamma,
        )
        check_schedule(end=end, **self._settings)
        self._configured: list[tuple[Noise, float]] = []

    def configured_values(self, model: nn.Module) -> list[tuple[Noise, float]]:
        """Return each noise of a model with the configured value of its setting.

        Raises:
            InputError: If it is no strength of a noise.
        """
        noises = [layer.noise for layer in find_noise_layers(model)]
        for noise in noises:
            if self.setting not in noise.strengths:
                raise InputError(
                    f'setting must be a numeric setting of the noise, but {noise} has no {self.setting!r} among its '
                    f'strengths {", ".join(noise.strengths)}'
                )
        return [(noise, getattr(noise, self.setting)) for noise in noises]

    def before_train(self, runner: Runner) -> None:
        """Store the configured strength.

        Raises:
            InputError: If epochs are the steps of a training that does not count them.
        """
        if self.by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise InputError(
                f'NoiseScheduleHook with by_epoch=True needs an EpochBasedTrainLoop, but train_cfg is '
                f'{type(runner.train_loop).__name__}: set by_epoch=False, and its steps in iterations'
            )
        self._configured = self.configured_values(runner.model)
        if not self._configured:
            runner.logger.warning('the model has no F-Noise: NoiseScheduleHook does nothing')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if not self._configured:
            return
        end = (runner.max_epochs if self.by_epoch else runner.max_iters) if self.end is None else self.end
        factor = schedule_factor(step=runner.epoch if self.by_epoch else runner.iter, end=end, **self._settings)
        for noise, strength in self._configured:
            setattr(noise, self.setting, strength * factor)
        # No slash in the key, since mmdet's analyze_logs.py would take the row for a validation.
        runner.message_hub.update_scalar(f'train/noise_{self.setting}', self._configured[0][1] * factor)

    def after_train(self, runner: Runner) -> None:
        for noise, strength in self._configured:
            setattr(noise, self.setting, strength)
