"""Mutated annotation files, each checked, and where it is accepted, loaded and evaluated."""

import contextlib
import copy
import gc
import io
import json
import random
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

HUGE = [2**31, 2**53 + 1, 2**63, 10**400, 1e9, 1e308, -1e308]
NUMBERS = [-1, 0, 1, 0.5, 1.0, 4, 64, 64.0, 1e6, *HUGE, float('nan'), float('inf'), -float('inf')]
TEXTS = ['', '0', '1', '64', 'a', 'circle', '../x', '/x', '5f1c-4e', '\ud800', '\x00', 'ä' * 200]
JUNK = [None, True, False, *NUMBERS, *TEXTS, [], {}, [[]], [{}], [None], [1], ['a'], {'a': 1}, [[[]]]]
RECTANGLE = [2, 2, 40, 2, 40, 40, 2, 40]
MASKS = [
    *JUNK,
    [RECTANGLE],
    [RECTANGLE, RECTANGLE],
    [[5, 5]],
    [[5, 5, 9, 9]],
    [RECTANGLE, [5, 5]],
    [[5, 5], RECTANGLE],
    [[5, 5, 9, 9], RECTANGLE],
    [RECTANGLE, []],
    [RECTANGLE[:7]],
    [[5.5] * 6],
    [[-5, -5, 900, -5, 900, 900]],
    [[1e9, 0, 0, 0, 0, 1e9]],
    [[1e9] * 6],
    [[float('nan'), *RECTANGLE[1:]]],
    [['5', *RECTANGLE[1:]]],
    [[True, *RECTANGLE[1:]]],
    [RECTANGLE * 1000],
    dict(size=[64, 64], counts=[4096]),
    dict(size=[64, 64], counts=[0, 4096]),
    dict(size=[64, 64], counts=[100, 300, 3696]),
    dict(size=[64, 64], counts=[100, 300]),
    dict(size=[64, 64], counts=[-100, 4196]),
    dict(size=[64, 64], counts=[100.0, 3996.0]),
    dict(size=[64, 64], counts='abc'),
    dict(size=[64, 64], counts=''),
    dict(size=[64, 64], counts=None),
    dict(size=[32, 64], counts=[2048]),
    dict(size=[64.0, 64.0], counts=[4096]),
    dict(size=[10**6, 10**6], counts=[10**12]),
    dict(counts=[4096]),
]
BOXES = [*JUNK, [1, 2, 3], [1, 2, 0, 4], [1, 2, -3, 4], [1, 2, 0.5, 4], [60, 60, 40, 40], [-9, -9, 20, 20]]
BOXES += [[0, 0, huge, 5] for huge in HUGE] + [[huge, 0, 5, 5] for huge in HUGE] + [['1', '2', '3', '4']]
# Values that are odd, but mostly right, by key; for others and half of the time it is junk.
ODD: dict[str, list[Any]] = dict(
    segmentation=MASKS,
    bbox=BOXES,
    iscrowd=[0, 1, None, True, 1.0],
    area=[0, -5, 0.5, 1, 1e5, 1e12, 40],
    width=[64, 64.0],
    height=[64, 64.0],
    id=[0, -1, 77, 2**40, 1.0, '5f1c-4e', 'ä'],
    image_id=[1, 2, 3, 1.0],
    category_id=[1, 2, 5, 1.0],
    file_name=['000001.png', '000002.png', './000001.png'],
    name=['circle', 'cat'],
)
KINDS = ('images', 'annotations', 'categories')


def mutate(coco: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Change a few things in a file, each in one record or in all of its kind."""
    coco = copy.deepcopy(coco)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _mutate_once(coco, rng)
    return coco


def _mutate_once(coco: dict[str, Any], rng: random.Random) -> None:
    kind = rng.choice([*KINDS, 'annotations', 'annotations', 'annotations'])
    records = coco.get(kind)
    if rng.random() < 0.02 or not isinstance(records, list) or not records:
        coco[kind] = copy.deepcopy(rng.choice(JUNK))
        return
    chosen = records if rng.random() < 0.2 else [rng.choice(records)]
    action = rng.choice(
        ['replace'] * 6 + ['drop key', 'add key', 'remove', 'repeat', 'junk', 'nest', 'renumber', 'text']
    )
    dicts = [one for one in chosen if isinstance(one, dict) and one]
    if action == 'remove':
        coco[kind] = [one for one in records if all(one is not other for other in chosen)]
    elif action == 'repeat':
        records += copy.deepcopy(chosen)
    elif action == 'junk':
        records[rng.randrange(len(records))] = copy.deepcopy(rng.choice(JUNK))
    elif action == 'renumber' and dicts:
        first = rng.choice([0, -2, 5, 2**40, 2**63, 0.0])
        for number, one in enumerate(dicts):
            one['id'] = first + number
    elif action == 'text' and dicts:
        for one in dicts:
            one['id'] = f'{kind}-{one.get("id")}'
    elif dicts:
        key = rng.choice(sorted(dicts[0]))
        value = rng.choice(JUNK if rng.random() < 0.4 else ODD.get(key, JUNK))
        for one in dicts:
            if action == 'drop key':
                one.pop(key, None)
            elif action == 'add key':
                one[rng.choice(['ignore', 'area', 'iscrowd', 'keypoints', 'segmentation', 'x'])] = copy.deepcopy(value)
            elif action == 'nest' and isinstance(one.get(key), list) and one[key]:
                one[key][rng.randrange(len(one[key]))] = copy.deepcopy(value)
            else:
                one[key] = copy.deepcopy(value)


def check(cfg: Any) -> None:
    """Run the checks of the dry run that read annotations."""
    from fnoise_mmdet.config import use_data_root
    from fnoise_mmdet.engine.preflight import check_data

    use_data_root(cfg, cfg.data_root, required=('train', 'val'))
    check_data(cfg, ['train', 'val'])


def load_and_evaluate(cfg: Any, folder: Path) -> None:
    """Load every sample for the training and the validation, and evaluate detections that repeat the ground truth."""
    from mmdet.registry import DATASETS, METRICS
    from pycocotools import mask as rle

    from fnoise_mmdet.comparison.average_precision import average_precision, match_detections
    from fnoise_mmdet.datasets.ground_truth import read_ground_truth

    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        dataset = DATASETS.build(loader.dataset)
        samples = [dataset[index] for index in range(len(dataset))]
        assert all(sample is not None for sample in samples)
    metric = METRICS.build({**cfg.val_evaluator, 'outfile_prefix': str(folder / 'results')})
    metric.dataset_meta = dataset.metainfo
    truth = read_ground_truth(Path(cfg.val_evaluator.ann_file))
    labels = {one: label for label, one in enumerate(truth.getCatIds(catNms=dataset.metainfo['classes']))}
    for path in folder.glob('results.*'):
        path.unlink()
    pairs = []
    is_perfect = {'bbox': True, 'segm': True}
    for sample in samples:
        image = sample['data_samples']
        objects = [
            one for one in truth.imgToAnns.get(image.img_id, []) if one['category_id'] in labels and not one['iscrowd']
        ]
        is_perfect['bbox'] &= all(min(one['bbox'][2:]) > 0 and one['area'] >= 0 for one in objects)
        corners = [[x, y, x + w, y + h] for x, y, w, h in (one['bbox'] for one in objects)]
        prediction = dict(
            img_id=image.img_id,
            bboxes=np.array(corners, dtype=float).reshape(-1, 4),
            scores=np.ones(len(objects)),
            labels=np.array([labels[one['category_id']] for one in objects], dtype=int),
        )
        if 'segm' in metric.metrics:
            masks = [truth.annToRLE(one) for one in objects]
            is_perfect['segm'] &= is_perfect['bbox'] and all(rle.area(one) for one in masks)
            prediction['masks'] = [dict(one) for one in masks]
        pairs.append((dict(width=image.ori_shape[1], height=image.ori_shape[0], img_id=image.img_id), prediction))
    metrics = metric.compute_metrics(pairs)
    if metrics == {'objects': 0}:
        return
    json.dumps(metrics, allow_nan=False)
    for kind in metric.metrics:
        ap = metrics[f'{kind}_mAP']
        assert ap == 1 or not is_perfect[kind], f'{kind} AP of perfect detections is {ap}'
        tables = match_detections(Path(cfg.val_evaluator.ann_file), folder / f'results.{kind}.json', kind)
        (again,) = average_precision(tables, np.ones((1, len(tables[0].objects)), dtype=int))
        assert abs(again[0] - ap) < 1e-3, f'{kind} AP is {ap}, and {again[0]} in a comparison'


def try_files(data: Path, config: str, first: int, last: int, current: Any) -> Counter[str]:
    """Try the files of these numbers, ``current.value`` being that of the one at hand, and count outcomes.

    Raises:
        RuntimeError: A file ended the checks, or after them the loading or the evaluation, in an error.
    """
    from mmengine.config import Config

    from fnoise_mmdet.errors import InputError

    whole = Config.fromfile(config)
    base = json.loads((data / 'annotations/instances_train.json').read_text())
    base = dict(images=base['images'][:3], categories=base['categories'], annotations=base['annotations'])
    base['annotations'] = [one for one in base['annotations'] if one['image_id'] <= 3]
    file = data / 'annotations/instances_val.json'
    outcomes: Counter[str] = Counter()
    gc.freeze()  # mmdet collects garbage for every data set, which takes most of the time without
    for number in range(first, last):
        current.value = number
        mutated = mutate(base, random.Random(number))
        file.write_text(json.dumps(mutated))
        cfg = copy.deepcopy(whole)
        cfg.data_root = str(data)
        cfg.train_dataloader.dataset.ann_file = cfg.val_dataloader.dataset.ann_file = ''
        if number % 4 == 0:  # a detector of boxes
            cfg.val_evaluator.metric = 'bbox'
            for loader in (cfg.train_dataloader, cfg.val_dataloader):
                for step in loader.dataset.pipeline:
                    if step.type == 'LoadAnnotations':
                        step.with_mask = False
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    check(cfg)
                except InputError:
                    outcomes['refused'] += 1
                    continue
                load_and_evaluate(cfg, data)
            outcomes['evaluated'] += 1
        except Exception as error:
            raise RuntimeError(f'file {number}: {traceback.format_exc()}\n{json.dumps(mutated)[:20000]}') from error
    return outcomes
