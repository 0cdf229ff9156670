"""Draw clean and perturbed features of images, without a training."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ..cli.options import CHECKPOINT_SUFFIXES
from ..config import check_has, load_config, use_classes, use_data_root
from ..datasets.files import staged_folder, write_picture
from ..datasets.images import output_stem, printable, readable_images
from ..engine.checkpoint import trained_classes
from ..engine.preflight import check_checkpoint
from ..engine.preview import ImageFeatures, load_detector, strength_of
from ..errors import InputError
from ..noise import FeatureNoise, Noise
from ..visualization import density_panel, feature_panel, save_arrays, sweep_panel
from .output import draw_in_batches


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    checkpoint = args.inputs.pop(0) if args.inputs[0].lower().endswith(CHECKPOINT_SUFFIXES) else None
    if not args.inputs:
        raise InputError(f'expected an image after checkpoint {checkpoint}')
    images = readable_images([Path(path) for path in args.inputs])
    cfg = load_config(args.config, args.cfg_options, args.fnoise)
    check_has(cfg, 'model', 'test_dataloader')
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('test',))
    if checkpoint is not None:
        classes = trained_classes(check_checkpoint(checkpoint))
        if classes is not None:
            use_classes(cfg, classes)
    weights = f'random weights, seed {args.seed}' if checkpoint is None else Path(checkpoint).name
    settings = dict(reduction=args.reduction, top_k=args.top_k, max_size=args.max_size)

    with staged_folder(args.out, args.force, [args.config, *([checkpoint] if checkpoint else []), *images]) as folder:
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
                columns = [
                    (name, found.clean, found.perturbed)
                    for name, found in zip(noises, maps)
                    if found.perturbed is not None
                ]
                panel = density_panel(columns, f'{title} · level {maps[0].level}', max_size=args.max_size)
            elif args.sweep:
                levels = shown.sweep(args.sweep, args.levels)
                assert shown.noise is not None, 'needed by the sweep'
                setting = strength_of(shown.noise.noise)
                headings = [f'{setting} {value:g}' for value in args.sweep]
                caption = re.sub(rf'\b{setting} [^,]+', f'{setting} as above', caption)
                panel = sweep_panel(
                    shown.image, levels, headings, title, caption=caption, boxes=shown.boxes, **settings
                )
            else:
                maps = shown.maps(args.levels)
                if any(one.perturbed is not None for one in maps):
                    title += ' · noise as in training'
                panel = feature_panel(shown.image, maps, title, caption=caption, boxes=shown.boxes, **settings)
            write_picture(folder / f'{output_stem(path)}.png', panel)
            if args.arrays and not (args.sweep or args.density):
                save_arrays(folder / f'{output_stem(path)}.npz', shown.image, maps)

        drawn = draw_in_batches(draw, images)
    print(f'wrote {drawn} image{"s" * (drawn != 1)} to {args.out}')
