"""Draw the detections of one detector on images, or of two side by side."""

import argparse
from pathlib import Path

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Draw boxes, masks and labels on images. Images are written to OUT_DIR/vis, detections as JSON to '
        'OUT_DIR/preds. The detections of two checkpoints are drawn side by side, and their JSON files written to one '
        'folder each. A checkpoint of F-Noise can be loaded with a plain config: it has the weights of the plain '
        'detector.',
        examples=[
            'configs/fnoise.py work_dirs/fnoise/epoch_10.pth photos/ --out-dir drawn',
            'configs/baseline.py work_dirs/baseline/epoch_10.pth work_dirs/fnoise/epoch_10.pth photos/ --out-dir both',
            'configs/baseline.py work_dirs/baseline/epoch_10.pth photos/ --fnoise --samples 10 --out-dir spread',
        ],
        answers={'--show': 'the pictures are saved in OUT_DIR/vis, see --out-dir'},
    )
    options.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        'inputs',
        nargs='+',
        help='images or folders of images, after an optional second checkpoint '
        f'({", ".join(options.CHECKPOINT_SUFFIXES)})',
    )
    parser.add_argument('--second-config', help='config of the second checkpoint (default: that of the first)')
    parser.add_argument(
        '--names', nargs=2, metavar=('A', 'B'), help='names of the two (default: where their paths differ)'
    )
    parser.add_argument(
        '--annotations',
        type=Path,
        metavar='FILE',
        help='annotations of the images in COCO format: the ground truth is drawn beside the detections, with true '
        'positives (IoU of at least 0.5), false positives and missed objects in different colours',
    )
    parser.add_argument(
        '--samples',
        type=options.at_least(2),
        metavar='N',
        help='evaluate each image N more times with the noise of the config or of --fnoise, and draw how boxes, masks '
        'and scores spread; the JSON files get their means and standard deviations',
    )
    parser.add_argument('--seed', type=options.seed, default=0, help='seed of the noise (default: 0)')
    parser.add_argument('--out-dir', type=Path, default=Path('outputs'), help='output folder')
    parser.add_argument('--force', action='store_true', help='replace a non-empty folder')
    parser.add_argument('--score-thr', type=options.between(0, 1), default=0.3, help='score threshold for drawing')
    parser.add_argument('--device', help='device, e.g. cpu or cuda:0 (default: a GPU if available)')
    parser.add_argument('--batch-size', type=options.at_least(1), default=1, help='batch size')
    options.add_trust_option(parser)
    args = parser.parse_args()
    args.checkpoints = [args.checkpoint]
    if args.inputs[0].lower().endswith(options.CHECKPOINT_SUFFIXES):
        args.checkpoints.append(args.inputs.pop(0))
    if not args.inputs:
        parser.error('expected images or folders of images after the checkpoints')
    if len(args.checkpoints) == 1 and (args.names or args.second_config):
        parser.error('--names and --second-config need two checkpoints')
    if args.samples and (len(args.checkpoints) > 1 or args.annotations):
        parser.error('--samples shows the spread of one checkpoint, without --annotations')
    return args
