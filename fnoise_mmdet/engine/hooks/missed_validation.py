"""The validation that a resumed training would leave out."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate the checkpoint that a training is resumed from, where its validation was due.

    A checkpoint is saved before its validation. A training that is stopped
    between the two, or in the validation, is resumed by mmengine with what
    comes after it: the log has a gap, and that of a training which was stopped
    in its last validation has no final result at all.
    """

    priority = 'LOWEST'  # after the hooks that prepare themselves for a training

    def before_train(self, runner: Runner) -> None:
        """Run the validation."""
        loop = runner.train_loop
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        done, end = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        if runner.val_loop is None or done == 0 or done < loop.val_begin:
            return
        if not by_iteration and loop.iter != loop.epoch * len(loop.dataloader):  # within an epoch
            return
        loop._decide_current_val_interval()  # the config may have another one from some epoch on
        if done % loop.val_interval == 0 or done == end:
            runner.logger.info('validating the checkpoint that the training goes on from')
            runner.val_loop.run()
