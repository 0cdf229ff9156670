"""Draw a detector's boxes, masks and labels on images."""

import argparse
from collections import Counter
from pathlib import Path

import mmcv
from mmdet.apis import DetInferencer

from fnoise_mmdet import cli
from fnoise_mmdet.config import load_config, use_classes, use_data_root
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.preflight import check_checkpoint

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw boxes, masks and labels on images. Pictures land in OUT_DIR/vis, '
        'detections as JSON in OUT_DIR/preds.',
        epilog='example: python tools/infer.py configs/fnoise.py work_dirs/fnoise/epoch_10.pth photos/ --out-dir drawn',
    )
    cli.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('inputs', nargs='+', type=Path, help='images, or folders of images')
    parser.add_argument('--out-dir', type=Path, default=Path('outputs'), help='folder to write to (default: outputs)')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that is drawn (default: 0.3)')
    parser.add_argument('--device', help='device to run on, e.g. cpu or cuda:0 (default: a GPU where there is one)')
    parser.add_argument('--batch-size', type=cli.at_least(1), default=1, help='images at a time (default: 1)')
    return parser.parse_args()


def find_images(inputs: list[Path]) -> list[Path]:
    """Give the images named, and those in the folders named."""
    images: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f'folder {path} has no image ({", ".join(SUFFIXES)})')
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise InputError(f'input {path} is neither an image nor a folder')
    twice = [name for name, count in Counter(path.name for path in images).items() if count > 1]
    if twice:
        raise InputError(f'{len(twice)} file names occur twice, e.g. {twice[0]}, and would overwrite each other')
    return images


def is_readable(path: Path) -> bool:
    try:
        return mmcv.imread(str(path)) is not None
    except Exception:  # a broken image makes OpenCV raise, or not, by its kind
        return False


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.fnoise)
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('test',))
    trained = check_checkpoint(args.checkpoint).get('dataset_meta') or {}
    if 'classes' in trained:
        use_classes(cfg, trained['classes'])
    images = find_images(args.inputs)
    unreadable = [path for path in images if not is_readable(path)]
    for path in unreadable:
        print(f'skipped {path}: it cannot be read as an image')
    images = [path for path in images if path not in unreadable]
    if not images:
        raise InputError('none of the inputs can be read as an image')

    cfg.visualizer.vis_backends = []  # pictures go to --out-dir alone
    inferencer = DetInferencer(cfg, args.checkpoint, args.device)
    inferencer(
        [str(path) for path in images],
        batch_size=args.batch_size,
        pred_score_thr=args.score_thr,
        out_dir=str(args.out_dir),
        no_save_pred=False,
    )
    print(f'wrote {len(images)} pictures to {args.out_dir / "vis"} and their detections to {args.out_dir / "preds"}')


if __name__ == '__main__':
    cli.run(main)
