"""Runs made up for the tests, whose figures are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fnoise_mmdet.analysis import Run


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
