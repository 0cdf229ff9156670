"""A resumed training removes checkpoints of its own work dir only."""

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class OwnCheckpointsHook(Hook):
    """Have a resumed training forget a best checkpoint that is not its own.

    mmengine's ``CheckpointHook`` removes the best checkpoint when there is a
    better one, a folder with all that it holds. Its path comes from the
    checkpoint that the training is resumed from: a file from elsewhere could
    name anything, and that of another run names the best checkpoint of that run.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook reads the path

    def before_train(self, runner: Runner) -> None:
        """Forget paths that are not those of best checkpoints in the work dir."""
        folder = Path(runner.work_dir).resolve()
        info = runner.message_hub.runtime_info
        for name in [name for name in info if name.startswith('best_ckpt')]:
            path = Path(info[name] or '')
            is_own = path.match('best_*.pth') and path.is_file() and path.resolve().is_relative_to(folder)
            if not is_own:
                runner.logger.info(f'best checkpoint {info.pop(name)!r} is not of this run, which leaves it as it is')
