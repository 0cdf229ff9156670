"""Hook that runs a validation missed before a resume."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate the checkpoint from which a training resumes, if its validation was due.

    A checkpoint is saved before its validation. If a training is stopped in
    between or during the validation, mmengine resumes after it, so the log has
    a gap, and no final result if it was the last validation.
    """

    priority = 'LOWEST'  # after the hooks that are set up for training

    def before_train(self, runner: Runner) -> None:
        """Run the validation."""
        loop = runner.train_loop
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        done, end = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        if runner.val_loop is None or done == 0 or done < loop.val_begin:
            return
        if not by_iteration and loop.iter != loop.epoch * len(loop.dataloader):  # resumed within an epoch
            return
        loop._decide_current_val_interval()  # the interval may change during the training
        if done % loop.val_interval == 0 or done == end:
            runner.logger.info('validating the checkpoint from which the training resumes')
            runner.val_loop.run()
