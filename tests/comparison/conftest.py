"""Runs made up for the tests, whose figures are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnoise_mmdet.comparison import Run
from fnoise_mmdet.comparison.robustness import Robustness, read_robustness


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """A run of 2 epochs of 3 iterations, whose total loss falls from 9 to 4, all values moved by ``offset``."""

    def make(
        name: str, offset: float = 0.0, epochs: int = 2, val: bool = True, extra: tuple[str, ...] = (), **more: Any
    ) -> Run:
        train = [
            dict(loss=10 - step + offset, loss_cls=1.0 + offset, time=step / 10, epoch=1 + (step - 1) // 3, step=step)
            for step in range(1, 3 * epochs + 1)
        ]
        for row in train:
            row.update(dict.fromkeys(extra, 1.0))
        metrics = [
            {'coco/bbox_mAP': 0.1 * epoch + offset, 'val_loss': 2.0 - offset, 'step': epoch}
            for epoch in range(1, epochs + 1)
        ]
        return Run(name, train, metrics if val else [], [], **more)

    return make


@pytest.fixture
def write_run(make_run: Callable[..., Run]) -> Callable[..., Path]:
    """Write such a run as a work dir."""

    def write(path: Path, *, record: dict[str, Any] | None = None, tail: str = '', **settings: Any) -> Path:
        run = make_run(path.name, **settings)
        log = path / '20260101_000000' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text('\n'.join(json.dumps(row) for row in [*run.train, *run.val]) + '\n' + tail)
        if record is not None:
            (path / 'run.json').write_text(json.dumps(record))
        return path

    return write


@pytest.fixture
def make_detections() -> Callable[..., list[dict[str, Any]]]:
    """Make boxes out of annotations: objects moved, mistaken, doubled, missed."""

    def make(truth: dict[str, Any], seed: int = 0, shift: float = 2.0) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        # Scores are equal between images, and differ inside one: there the order of equal ones is anybody's.
        scores = {image['id']: iter(rng.permutation(30) / 30) for image in truth['images']}
        results = []
        for one in truth['annotations']:
            for _ in range(rng.integers(0, 3)):
                box = np.asarray(one['bbox']) + rng.normal(scale=shift, size=4)
                category = one['category_id'] if rng.random() < 0.8 else int(rng.integers(1, 6))
                score = float(next(scores[one['image_id']]))
                results.append(dict(image_id=one['image_id'], category_id=category, bbox=box.tolist(), score=score))
        return results

    return make


@pytest.fixture
def write_robustness() -> Callable[..., Robustness]:
    """Write evaluations as tools/robustness.py does, and read them."""

    def write(work_dir: Path, results: list[dict[str, Any]], **header: Any) -> Robustness:
        folder = work_dir / 'robustness'
        folder.mkdir(parents=True, exist_ok=True)
        content = dict(checkpoint='x.pth', ann_file='/x.json', images=2, image_ids=[1, 2], seed=0, results=results)
        (folder / 'robustness.json').write_text(json.dumps(content | header))
        found = read_robustness(work_dir)
        assert found is not None
        return found

    return write
