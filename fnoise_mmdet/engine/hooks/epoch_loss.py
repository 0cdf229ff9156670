"""Hook that logs the mean training losses of each epoch."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...visualization.batch import length


@HOOKS.register_module()
class EpochLossHook(Hook):
    """Log the mean of every training loss per epoch.

    The scalars are ``epoch/mean_loss``, ``epoch/mean_loss_cls`` and so on,
    with the epoch, counted from 1, as the step. Because of the slash, mmdet's
    ``analyze_logs.py`` excludes these rows from the training curve. Nothing
    is logged in iteration-based training.
    """

    priority = 'BELOW_NORMAL'

    def after_train_epoch(self, runner: Runner) -> None:
        """Average the loss history of this epoch, which is also in the checkpoint."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        iterations = length(runner.train_dataloader)  # None would mean the whole history
        prefix = 'train/'
        means = {
            f'epoch/mean_{name[len(prefix) :]}': float(history.mean(iterations))
            for name, history in runner.message_hub.log_scalars.items()
            if name.startswith(prefix) and 'loss' in name
        }
        # The loop increments the epoch after this hook.
        runner.visualizer.add_scalars(means, step=runner.epoch + 1)
