"""Hook that logs the signal-to-noise ratio of the features."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...models.layers import NoiseLayer, find_noise_layers
from ...visualization import snr_db
from ...visualization.tap import Tap
from .interval import is_due


@HOOKS.register_module()
class SNRHook(Hook):
    """Log the signal-to-noise ratio of each perturbed level.

    The scalars ``snr_db_0``, ``snr_db_1`` and so on are in dB, for one batch
    and the first layer with F-Noise. In other iterations no forward hook is
    attached. Without active F-Noise nothing is logged.

    Args:
        interval: Measure in every ``interval``-th iteration, preferably that
            of the logger, and in the last one of a shorter training. Defaults
            to 10.

    Raises:
        ValueError: If the interval is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError(f'interval must be >= 1, but got {interval}')
        self.interval = interval
        self._layer: NoiseLayer | None = None
        self._tap: Tap | None = None

    def before_train(self, runner: Runner) -> None:
        self._layer = next(iter(find_noise_layers(runner.model)), None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if self._tap is not None:  # left from an aborted iteration
            self._tap.detach()
            self._tap = None
        if self._layer is not None and not self._layer.noise.is_off and is_due(runner, self.interval):
            self._tap = Tap(self._layer)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        if self._tap is None:
            return
        tap, self._tap = self._tap, None
        tap.detach()
        for level, (clean, perturbed) in enumerate(zip(tap.clean or (), tap.perturbed or ())):
            if perturbed is not clean:
                runner.message_hub.update_scalar(f'train/snr_db_{level}', snr_db(clean, perturbed))
