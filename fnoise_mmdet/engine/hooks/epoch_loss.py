"""The mean loss of each epoch, for the visualizer's back ends."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...visualization.batch import length


@HOOKS.register_module()
class EpochLossHook(Hook):
    """Log the mean of every training loss over each epoch.

    The scalars are ``epoch/mean_loss``, ``epoch/mean_loss_cls`` and so on,
    with the epoch, counted from 1, as the step. mmdet's ``analyze_logs.py``
    takes a line whose keys contain a slash for a validation and leaves its
    step out of the training curve, as is right here.
    """

    priority = 'BELOW_NORMAL'

    def after_train_epoch(self, runner: Runner) -> None:
        """Average this epoch's part of the loss history, which is in the checkpoint too."""
        iterations = length(runner.train_dataloader)  # None is for the whole history
        prefix = 'train/'
        means = {
            f'epoch/mean_{name[len(prefix) :]}': float(history.mean(iterations))
            for name, history in runner.message_hub.log_scalars.items()
            if name.startswith(prefix) and 'loss' in name
        }
        # The loop counts an epoch only after this hook.
        runner.visualizer.add_scalars(means, step=runner.epoch + 1)
