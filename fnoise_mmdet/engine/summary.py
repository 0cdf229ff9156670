"""Summary of a finished training."""

import shlex
from pathlib import Path

from mmengine.runner import Runner

from ..cli.parser import command_for
from .resume import latest_checkpoint


def training_summary(runner: Runner, config: str) -> str:
    """Return the last AP of a training, its pictures, its checkpoint and a next command, one per line.

    Args:
        runner: Runner that has trained.
        config: Name of the config, for the command.
    """
    work_dir, scalars = Path(runner.work_dir), runner.message_hub.log_scalars
    scores = {
        f'{kind} AP': scalars[key].current()
        for kind, key in (('box', 'val/coco/bbox_mAP'), ('mask', 'val/coco/segm_mAP'))
        if key in scalars
    }
    checkpoint, _ = latest_checkpoint(work_dir)
    pictures = sorted(work_dir.glob('*/vis_data/vis_image/*.png'))
    lines = [f'finished {work_dir}']
    if scores:
        lines.append('validation  ' + ', '.join(f'{name} {value:.3f}' for name, value in scores.items()))
    if pictures:
        lines.append(f'pictures    {pictures[-1].parent} ({len(pictures)})')
    if checkpoint:
        arguments = shlex.join([config, str(checkpoint), 'IMAGES', '--out-dir', 'detections'])
        infer = command_for('infer')
        start = f'python {infer}' if infer.endswith('.py') else infer
        lines += [f'checkpoint  {checkpoint}', f'next        {start} {arguments}']
    return '\n'.join(lines)
