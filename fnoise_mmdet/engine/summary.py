"""What a training has left, and what to do with it."""

import shlex
from pathlib import Path

from mmengine.runner import Runner

from .resume import latest_checkpoint


def training_summary(runner: Runner, config: str) -> str:
    """Return the last AP of a training, its checkpoint, its pictures and a next command, a line each.

    Args:
        runner: Runner that has trained.
        config: Name of the config, for the command.
    """
    scalars = runner.message_hub.log_scalars
    scores = {
        f'{kind} AP': scalars[key].current()
        for kind, key in (('box', 'val/coco/bbox_mAP'), ('mask', 'val/coco/segm_mAP'))
        if key in scalars
    }
    checkpoint, _ = latest_checkpoint(Path(runner.work_dir))
    pictures = sorted(Path(runner.work_dir).glob('*/vis_data/vis_image/*.png'))
    lines = [f'finished {Path(runner.work_dir)}']
    if scores:
        lines.append('validation  ' + ', '.join(f'{name} {value:.3f}' for name, value in scores.items()))
    if pictures:
        lines.append(f'pictures    {pictures[-1].parent} ({len(pictures)})')
    if checkpoint:
        lines += [
            f'checkpoint  {checkpoint}',
            'next        '
            + shlex.join(['python', 'tools/infer.py', config, str(checkpoint), 'IMAGES', '--out-dir', 'detections']),
        ]
    return '\n'.join(lines)
