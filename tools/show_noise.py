"""Draw clean and perturbed features of images, without a training."""

import _start

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.config import check_has, load_config, use_classes, use_data_root
from fnoise_mmdet.datasets.files import staged_folder, write_picture
from fnoise_mmdet.datasets.images import output_stem, printable, readable_images
from fnoise_mmdet.engine.preflight import check_checkpoint
from fnoise_mmdet.engine.preview import ImageFeatures, load_detector, strength_of
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.noise import FeatureNoise, Noise
from fnoise_mmdet.visualization import REDUCTIONS, density_panel, feature_panel, save_arrays, sweep_panel
from fnoise_mmdet.visualization.tap import SOURCES


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        usage='%(prog)s CONFIG [CHECKPOINT] IMAGE [IMAGE ...] --out DIR [options]',
        description='Draw clean and perturbed features of images, without a training: one panel per image as '
        'OUT/IMAGE.png, with clean features, noise, perturbed features and their relative change. For a config '
        'without noise only the features are drawn, unless noise is inserted with --fnoise.',
        examples=[
            'configs/fnoise.py photos/ --out shown --sweep 0.1 0.2 0.3 0.5 1.0',
        ],
    )
    cli.add_config_arguments(parser)
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='[CHECKPOINT] IMAGE',
        help=f'checkpoint, a file or URL recognized by its suffix ({", ".join(cli.CHECKPOINT_SUFFIXES)}), then images '
        'or folders of images. Without a checkpoint the weights are random, which the title states',
    )
    parser.add_argument('--out', type=Path, required=True, help='output folder, which must not exist or be empty')
    parser.add_argument('--force', action='store_true', help='replace a non-empty folder OUT')
    parser.add_argument(
        '--sweep',
        nargs='+',
        type=float,
        metavar='STRENGTH',
        help='instead of panels, draw one figure per image with a column for each strength of the noise: the scale '
        'of F-Noise, or the corresponding setting of another noise, e.g. drop_prob',
    )
    parser.add_argument(
        '--density',
        action='store_true',
        help='instead of panels, draw the joint density of |feature| and |noise| at the first of the levels, for the '
        'noise of the config and for cct, mean_normal and l2: only noise proportional to the features follows them',
    )
    parser.add_argument(
        '--source',
        choices=SOURCES,
        default='noise',
        help='features to draw: the input of the noise, or the outputs of backbone or neck',
    )
    parser.add_argument(
        '--levels',
        nargs='+',
        type=int,
        metavar='LEVEL',
        help='levels to draw, -1 is the last (default: the first three)',
    )
    parser.add_argument(
        '--reduction',
        choices=REDUCTIONS,
        default='strongest',
        help='reduction of the channels to one map: the strongest channel, a grid of the strongest, mean, max or norm '
        'over channels, or the first principal component',
    )
    parser.add_argument('--top-k', type=cli.at_least(1), default=9, help='number of channels of top_k')
    parser.add_argument('--max-size', type=cli.at_least(200), default=1600, help='longest side in pixels')
    parser.add_argument('--arrays', action='store_true', help='also save the arrays as OUT/IMAGE.npz')
    parser.add_argument('--seed', type=cli.at_least(0), default=0, help='seed of noise and random weights')
    parser.add_argument('--device', help='device, e.g. cpu or cuda:0 (default: a GPU if available)')
    cli.add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    checkpoint = args.inputs.pop(0) if args.inputs[0].lower().endswith(cli.CHECKPOINT_SUFFIXES) else None
    if not args.inputs:
        raise InputError(f'no image is given with checkpoint {checkpoint}')
    images = readable_images([Path(path) for path in args.inputs])
    if args.force and any(args.out.resolve() in path.resolve().parents for path in images):
        raise InputError(f'--out {args.out} contains input images and cannot be replaced: use another folder')
    cfg = load_config(args.config, args.cfg_options, args.fnoise)
    check_has(cfg, 'model', 'test_dataloader')
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('test',))
    if checkpoint is not None:
        trained = check_checkpoint(checkpoint).get('dataset_meta') or {}
        if 'classes' in trained:
            use_classes(cfg, trained['classes'])
    weights = f'random weights, seed {args.seed}' if checkpoint is None else Path(checkpoint).name
    settings = dict(reduction=args.reduction, top_k=args.top_k, max_size=args.max_size)

    with staged_folder(args.out, args.force) as folder:
        device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        model = load_detector(cfg, checkpoint, args.seed, device)

        def draw(batch: Sequence[Path]) -> None:
            (path,) = batch
            shown = ImageFeatures(model, cfg, path, args.source, predict=checkpoint is not None)
            caption = '' if shown.noise is None else shown.noise.noise.describe()
            title = f'{printable(path.name)} · {weights}'
            if args.density:
                noises: dict[str, Noise] = {preset: FeatureNoise(preset) for preset in ('cct', 'mean_normal', 'l2')}
                if shown.noise and repr(shown.noise.noise) not in map(repr, noises.values()):
                    noises = {'as configured': shown.noise.noise, **noises}
                maps = shown.under(list(noises.values()), args.levels)
                columns = [(name, found.clean, found.perturbed) for name, found in zip(noises, maps)]
                panel = density_panel(columns, f'{title} · level {maps[0].level}', max_size=args.max_size)
            elif args.sweep:
                levels = shown.sweep(args.sweep, args.levels)
                setting = strength_of(shown.noise.noise)
                strengths = [f'{setting} {value:g}' for value in args.sweep]
                caption = re.sub(rf'\b{setting} [^,]+', f'{setting} as above', caption)
                panel = sweep_panel(
                    shown.image, levels, strengths, title, caption=caption, boxes=shown.boxes, **settings
                )
            else:
                maps = shown.maps(args.levels)
                if any(one.perturbed is not None for one in maps):
                    title += ' · noise as in training'
                panel = feature_panel(shown.image, maps, title, caption=caption, boxes=shown.boxes, **settings)
            write_picture(folder / f'{output_stem(path)}.png', panel)
            if args.arrays and not (args.sweep or args.density):
                save_arrays(folder / f'{output_stem(path)}.npz', shown.image, maps)

        drawn = cli.draw_in_batches(draw, images)
    print(f'wrote {drawn} image{"s" * (drawn != 1)} to {args.out}')


if __name__ == '__main__':
    _start.run(main)
