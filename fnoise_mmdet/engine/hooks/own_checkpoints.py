"""Hook that keeps a resumed training from deleting checkpoints of other runs."""

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class OwnCheckpointsHook(Hook):
    """Drop the best checkpoint of another run after a resume.

    mmengine's ``CheckpointHook`` deletes the previous best checkpoint, even a
    whole folder, when there is a better one. Its path is read from the resumed
    checkpoint, which may be from an untrusted source or from another run.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook reads the path

    def before_train(self, runner: Runner) -> None:
        """Drop paths other than those of best checkpoints in the work dir."""
        folder = Path(runner.work_dir).resolve()
        info = runner.message_hub.runtime_info
        for name in [name for name in info if name.startswith('best_ckpt')]:
            path = Path(info[name] or '')
            is_own = path.match('best_*.pth') and path.is_file() and path.resolve().is_relative_to(folder)
            if not is_own:
                runner.logger.info(f'best checkpoint {info.pop(name)!r} belongs to another run and is kept')
