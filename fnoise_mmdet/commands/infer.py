"""Draw the detections of one detector on images, or of two side by side."""

import argparse
import contextlib
import operator
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmdet.apis import DetInferencer
from mmdet.utils import get_test_pipeline_cfg
from mmengine.logging import MessageHub
from pycocotools import mask as coco_mask

from ..config import check_has, load_config, use_classes, use_data_root
from ..config.types import type_name
from ..datasets import read_coco
from ..datasets.files import staged_folder, write_json, write_picture
from ..datasets.ground_truth import read_ground_truth
from ..datasets.images import output_stem, printable, readable_images
from ..datasets.validate import annotation_findings
from ..engine.checkpoint import trained_classes
from ..engine.preflight import check_checkpoint, check_device_option, check_model
from ..errors import ImageError, InputError
from ..models.layers import find_noise_layers
from ..visualization import (
    Detection,
    annotated_objects,
    detections_panel,
    mark_outcomes,
    spread_columns,
    spread_of,
)
from .output import draw_in_batches


def read_models(args: argparse.Namespace) -> list[DetInferencer]:
    """Build the model of each checkpoint, with its training classes.

    Raises:
        InputError: If the device or a checkpoint cannot be used, the classes
            differ, or a checkpoint or the data do not fit its config.
    """
    check_device_option(args.device)
    trained = [trained_classes(check_checkpoint(path)) for path in args.checkpoints]
    if len({*trained} - {None}) > 1:
        raise InputError(
            'the checkpoints were trained on different classes: '
            + ', but '.join(
                f'{path} on {len(classes)} ({", ".join(classes[:5])}{", ..." if len(classes) > 5 else ""})'
                for path, classes in zip(args.checkpoints, trained)
                if classes is not None
            )
        )
    sources = [(args.config, args.fnoise)] * 2
    if args.second_config:
        sources[1] = (args.second_config, None)
    models = []
    for (config, fnoise), checkpoint, classes in zip(sources, args.checkpoints, trained):
        cfg = load_config(config, args.cfg_options, fnoise)
        check_has(cfg, 'model', 'test_dataloader', 'visualizer')
        if args.data_root:
            use_data_root(cfg, args.data_root, required=('test',))
        if classes is not None:
            use_classes(cfg, classes)
        steps = [type_name(step) for step in get_test_pipeline_cfg(cfg)]
        if 'LoadImageFromFile' not in steps:
            raise InputError(
                f'{config} reads its images with {steps[0]}, but only LoadImageFromFile is supported here: use a '
                'config with it in the test pipeline'
            )
        check_checkpoint(checkpoint, model=check_model(cfg))
        cfg.visualizer.vis_backends = []  # images are only written to --out-dir
        models.append(DetInferencer(cfg, checkpoint, args.device, show_progress=False))
    return models


def default_names(checkpoints: Sequence[str]) -> list[str]:
    """Name each checkpoint by the part of its path in which the two differ."""
    parts = [list(Path(path).with_suffix('').parts) for path in checkpoints]
    for end in (0, -1):
        while all(parts) and parts[0][end] == parts[1][end]:
            for one in parts:
                one.pop(end)
    return ['/'.join(one) for one in parts] if all(parts) else ['first', 'second']


def folder_name(name: str) -> str:
    """Return a name as folder name, empty if it is not a valid one."""
    return name.replace('/', '_').strip('.')


def to_detections(prediction: dict[str, Any], classes: Sequence[str], threshold: float) -> list[Detection]:
    """Convert the output of mmdet's inferencer for an image."""
    masks = prediction.get('masks') or [None] * len(prediction['scores'])
    return [
        Detection(box, classes[label], score, None if mask is None else coco_mask.decode(mask).astype(bool))
        for box, label, score, mask in zip(prediction['bboxes'], prediction['labels'], prediction['scores'], masks)
        if score >= threshold
    ]


def draw_one(model: DetInferencer, batch: Sequence[Path], args: argparse.Namespace, out: Path) -> None:
    """Draw and write the detections of a model."""
    results = model(
        [str(path) for path in batch],
        batch_size=len(batch),
        pred_score_thr=args.score_thr,
        return_vis=True,
    )
    for path, picture, prediction in zip(batch, results['visualization'], results['predictions']):
        write_picture(out / 'vis' / f'{output_stem(path)}.png', picture)
        write_prediction(out / 'preds', output_stem(path), prediction)


def write_prediction(folder: Path, name: str, prediction: dict[str, Any]) -> None:
    """Write the detections on an image under a printable name, unlike mmdet's."""
    folder.mkdir(parents=True, exist_ok=True)
    if 'panoptic_seg' in prediction:
        path = folder / f'{name}_panoptic_seg.png'
        write_picture(path, prediction.pop('panoptic_seg'))
        prediction['panoptic_seg_path'] = str(path)
    write_json(folder / f'{name}.json', prediction)


class Annotated:
    """Ground truth of images by file name.

    Raises:
        InputError: If the file cannot be read, or an annotation cannot be drawn.
    """

    def __init__(self, file: Path) -> None:
        problems, _ = annotation_findings(read_coco(file))
        if problems:
            raise InputError(f'{file}: {"; ".join(problems)}')
        self.truth = read_ground_truth(file)
        self.images: dict[str, list[dict[str, Any]]] = {}  # by name without folders
        for image in self.truth.dataset['images']:
            self.images.setdefault(Path(image['file_name']).name, []).append(image)

    def columns(
        self, path: Path, shape: tuple[int, ...], of_models: Sequence[list[Detection]]
    ) -> list[list[Detection]]:
        """Return the objects of an image, and the detections of each model with their outcome.

        Raises:
            ImageError: If the image is not annotated, several annotated images may be meant, or it has another size
                than annotated.
        """
        image = self._find(path)
        if (image['height'], image['width']) != shape[:2]:
            raise ImageError(
                f'it has {shape[1]} x {shape[0]} pixels, but is annotated with {image["width"]} x {image["height"]}'
            )
        objects, crowds = annotated_objects(self.truth, image['id'])
        return [objects, *(mark_outcomes(objects, found, crowds=crowds) for found in of_models)]

    def _find(self, path: Path) -> dict[str, Any]:
        """Find the annotated image whose name has the most path components in common with a file, from the last on."""
        images = self.images.get(path.name)
        if not images:
            raise ImageError('it is not annotated')
        parts = path.absolute().parts[::-1]
        common = [
            len([*takewhile(bool, map(operator.eq, parts, Path(image['file_name']).parts[::-1]))]) for image in images
        ]
        best = [image for image, count in zip(images, common) if count == max(common)]
        if len(best) > 1:
            raise ImageError(
                f'it may be {best[0]["file_name"]} or {best[1]["file_name"]} of the annotations: pass the image in its '
                'folder'
            )
        return best[0]


def heading(name: str, prediction: dict[str, Any], threshold: float) -> str:
    """Return the number of drawn detections or, if there are none, the highest score, as text."""
    number = sum(score >= threshold for score in prediction['scores'])
    best = max(prediction['scores'], default=0)
    some = f'{number} above {threshold:g}' if number else f'none above {threshold:g}, highest score {best:.2f}'
    return f'{name}: {some}' if name else some


def draw_columns(
    models: Sequence[DetInferencer],
    names: Sequence[str],
    annotated: Annotated | None,
    batch: Sequence[Path],
    args: argparse.Namespace,
    out: Path,
) -> None:
    """Draw the detections of the models side by side, and the ground truth if it is given; write them."""
    classes = models[0].model.dataset_meta['classes']
    paths = [str(path) for path in batch]
    of_models = [model(paths, batch_size=len(paths))['predictions'] for model in models]
    for path, *predictions in zip(batch, *of_models):
        headings = [heading(name, prediction, args.score_thr) for name, prediction in zip(names, predictions)]
        found = [to_detections(prediction, classes, args.score_thr) for prediction in predictions]
        image = np.ascontiguousarray(mmcv.imread(str(path))[..., ::-1])
        if annotated:
            headings, found = ['ground truth', *headings], annotated.columns(path, image.shape, found)
        panel = detections_panel(image, list(zip(headings, found)), printable(path.name), classes)
        write_picture(out / 'vis' / f'{output_stem(path)}.png', panel)
        for name, prediction in zip(names, predictions):
            write_prediction(out / 'preds' / folder_name(name), output_stem(path), prediction)


def draw_spread(model: DetInferencer, batch: Sequence[Path], args: argparse.Namespace, out: Path) -> None:
    """Draw and write the detections of a model and their spread over draws of the noise."""
    classes = model.model.dataset_meta['classes']
    paths = [str(path) for path in batch]

    def predict() -> list[dict[str, Any]]:
        return model(paths, batch_size=len(paths))['predictions']

    predictions = predict()
    of_samples = []
    hub = MessageHub.get_current_instance()
    with contextlib.ExitStack() as stack:
        for layer in find_noise_layers(model.model):
            stack.enter_context(layer.in_evaluation())
        for sample in range(args.samples):
            hub.update_info('iter', sample)  # different noise in every sample
            of_samples.append([to_detections(prediction, classes, 0.0) for prediction in predict()])
    for path, prediction, *samples in zip(batch, predictions, *of_samples):
        spreads = spread_of(to_detections(prediction, classes, args.score_thr), samples)
        image = np.ascontiguousarray(mmcv.imread(str(path))[..., ::-1])
        panel = detections_panel(image, spread_columns(spreads, args.samples), printable(path.name), classes)
        write_picture(out / 'vis' / f'{output_stem(path)}.png', panel)
        prediction['spread'] = [spread.summary() for spread in spreads]
        write_prediction(out / 'preds', output_stem(path), prediction)


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    names = args.names or default_names(args.checkpoints) if len(args.checkpoints) > 1 else []
    if len({folder_name(name) for name in names} - {''}) < len(names):
        raise InputError(f'--names must be different and non-empty, but got {names[0]!r} and {names[1]!r}')
    images = readable_images([Path(path) for path in args.inputs])
    annotated = Annotated(args.annotations) if args.annotations else None

    sources = [args.config, args.second_config, args.annotations, *args.checkpoints, *images]
    with staged_folder(args.out_dir, args.force, filter(None, sources)) as out:
        models = read_models(args)
        (out / 'vis').mkdir()
        draw: Callable[..., None]
        if args.samples:
            if all(layer.noise.is_off for layer in find_noise_layers(models[0].model)):
                raise InputError(f'--samples needs noise, which {args.config} does not have: insert it with --fnoise')
            MessageHub.get_current_instance().update_info('seed', args.seed)
            draw = partial(draw_spread, models[0])
        elif len(models) > 1 or annotated:
            draw = partial(draw_columns, models, names or [''], annotated)
        else:
            draw = partial(draw_one, models[0])
        drawn = draw_in_batches(partial(draw, args=args, out=out), images, args.batch_size)
    print(
        f'wrote {drawn} image{"s" * (drawn != 1)} to {args.out_dir / "vis"}, the detections to {args.out_dir / "preds"}'
    )
