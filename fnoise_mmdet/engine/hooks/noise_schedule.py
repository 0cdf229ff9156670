"""Hook that schedules the strength of the noise."""

from collections.abc import Sequence

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from ...errors import InputError
from ...models.layers import find_noise_layers
from ...noise import Noise
from ...noise.base import in_range
from ...noise.schedule import SCHEDULES, schedule_factor


@HOOKS.register_module()
class NoiseScheduleHook(Hook):
    """Schedule the strength of F-Noise over the training, and log it.

    The strength is the configured value times a factor from 0 to 1, see
    :func:`fnoise_mmdet.noise.schedule_factor`. The factor depends on the
    iteration or epoch alone, so resuming is exact. It is logged as
    ``noise_scale``, or ``noise_`` followed by the other setting.

    Args:
        schedule: ``'constant'``, ``'linear'``, ``'cosine'`` or ``'step'``.
        setting: Setting of the noise to schedule, e.g. ``'scale'`` of FeatureNoise,
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
        if schedule not in SCHEDULES:
            raise ValueError(f'schedule must be one of {SCHEDULES}, but got {schedule!r}')
        if begin < 0 or (end is not None and end < begin):
            raise ValueError(f'begin must be >= 0 and end >= begin, but got begin={begin} and end={end}')
        if (schedule == 'step') != bool(milestones):
            raise ValueError(f"milestones must be given for 'step' and only then, but got {milestones!r}")
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f'milestones must increase, but got {milestones!r}')
        self.schedule = schedule
        self.setting = setting
        self.by_epoch = by_epoch
        self.begin = begin
        self.end = end
        self.start_factor = in_range('start_factor', start_factor, 0, 1)
        self.end_factor = in_range('end_factor', end_factor, 0, 1)
        self.milestones = tuple(milestones)
        self.gamma = in_range('gamma', gamma, 0, 1)
        self._configured: list[tuple[Noise, float]] = []

    def configured_values(self, model: nn.Module) -> list[tuple[Noise, float]]:
        """Return each noise of a model with the configured value of its setting.

        Raises:
            ValueError: If the noise has no such setting, or it is not a number.
        """
        noises = [layer.noise for layer in find_noise_layers(model)]
        for noise in noises:
            value = getattr(noise, self.setting, None)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f'setting must be a numeric setting of the noise, but {noise} has no {self.setting!r}')
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
        factor = schedule_factor(
            self.schedule,
            runner.epoch if self.by_epoch else runner.iter,
            begin=self.begin,
            end=end,
            start_factor=self.start_factor,
            end_factor=self.end_factor,
            milestones=self.milestones,
            gamma=self.gamma,
        )
        for noise, strength in self._configured:
            setattr(noise, self.setting, strength * factor)
        # No slash in the key, since mmdet's analyze_logs.py would take the row for a validation.
        runner.message_hub.update_scalar(f'train/noise_{self.setting}', self._configured[0][1] * factor)

    def after_train(self, runner: Runner) -> None:
        for noise, strength in self._configured:
            setattr(noise, self.setting, strength)
