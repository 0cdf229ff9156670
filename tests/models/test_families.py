"""One config of every family that mmdet ships, and of every kind of neck in it, takes a training step with F-Noise."""

import functools
import re
from typing import Any

import pytest
import torch
from compatibility import initialise, neck_types, read_shipped, shipped_configs
from mmdet.models import DetDataPreprocessor
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_track_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from fnoise_mmdet import add_fnoise
from fnoise_mmdet.config import find_detector, nested_dicts
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.visualization.tap import Tap


def cost(name: str, cfg: Config) -> tuple[Any, ...]:
    """Order configs by how long a step takes, as far as their settings tell."""
    depth = (find_detector(cfg)[1].get('backbone') or {}).get('depth')
    return depth if isinstance(depth, int) else 50, len(name), name


@functools.cache
def representatives() -> list[str]:
    """Return the cheapest config of each family and kind of neck."""
    cheapest: dict[tuple[str, str], tuple[Any, ...]] = {}
    for name in shipped_configs():
        try:
            cfg = read_shipped(name)
        except Exception:  # of a package that is not installed; tools/dev/check_configs.py names these
            continue
        if cfg is not None:
            key = name.split('/')[0], neck_types(find_detector(cfg)[1])
            cheapest[key] = min(cheapest.get(key, cost(name, cfg)), cost(name, cfg))
    return sorted(order[-1] for order in cheapest.values())


def trained_part(model: nn.Module) -> nn.Module:
    """Return what a step trains: the student of a pair, the detector of a tracker that learns nothing else."""
    model = model._modules.get('student') or model
    if isinstance(model, BaseMOTModel) and 'track_head' not in model._modules:
        return model.detector
    return model


def batch(model: nn.Module, cfg: Config, size: int) -> dict[str, Any]:
    with_mask = any(
        step.get('with_mask') or step.get('type') == 'LoadPanopticAnnotations' for step in nested_dicts(cfg._cfg_dict)
    )
    if isinstance(model, BaseMOTModel):
        data = demo_track_inputs(
            batch_size=1, num_frames=2, key_frames_inds=[0], image_shapes=(3, size, size), with_mask=True
        )
    else:
        data = demo_mm_inputs(
            2, [[3, size, size]] * 2, num_items=[3, 3], num_classes=2, with_mask=with_mask, with_semantic=True
        )
        for sample in data['data_samples']:
            sample.gt_instances.labels.zero_()  # a class that every head has
            sample.proposals = InstanceData(bboxes=sample.gt_instances.bboxes.clone())
    preprocessor = model.data_preprocessor
    if not isinstance(model, BaseMOTModel) and not isinstance(preprocessor, DetDataPreprocessor):
        preprocessor = DetDataPreprocessor(pad_size_divisor=32)  # the tracker around the detector has one of its own
    return preprocessor(data, True)


def image_size(name: str, cfg: Config) -> int:
    """Return the smallest size that leaves every level a pixel, and transformers as many places as queries."""
    for text, size in {'ssd300': 300, 'ssd512': 512, 'ddod': 320}.items():
        if text in name:
            return size
    return 320 if find_detector(cfg)[1].get('num_queries', 0) > 400 else 128


def take_step(cfg: Config, size: int) -> None:
    for node in nested_dicts(cfg._cfg_dict):
        node.pop('batch_augments', None)  # which pad to 1024 pixels
    model = MODELS.build(cfg.model)
    initialise(model)
    model.train()
    model = trained_part(model)
    data = batch(model, cfg, size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    taps = [Tap(neck) for neck in find_noise_layers(model)[:1]]
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters())), 'nothing was learnt'
    for tap in taps:
        tap.detach()
        assert any(not torch.equal(x, y) for x, y in zip(tap.clean, tap.perturbed)), 'nothing was perturbed'


def error_of(name: str, place: str | None) -> str | None:
    """Take a step with noise at a place, or without, and return the error that it ended with, if any."""
    torch.manual_seed(0)
    try:
        cfg = read_shipped(name)
        size = image_size(name, cfg)
        take_step(add_fnoise(cfg, place=place) if place else cfg, size)
    except Exception as error:  # any, as the plain detector's is compared to it
        return re.sub(r'\d+', 'N', f'{type(error).__name__}: {error}')  # bytes asked for differ from run to run
    return None


@pytest.mark.long
@pytest.mark.parametrize(('place', 'fewest'), [('pre', 80), ('stage', 60), ('roi', 20), ('query', 5)])
def test_every_family_takes_a_training_step(fuzz_report, place, fewest):
    """Or fails as it does without F-Noise, where a package is missing or an operator for CPUs; or has no such place."""
    MMLogger.get_instance('mmengine').setLevel('ERROR')
    init_default_scope('mmdet')
    hub = MessageHub.get_instance('families')
    for key, value in dict(epoch=0, iter=0, max_iters=100).items():
        hub.update_info(key, value)
    names = representatives()
    errors = {name: error for name in names if (error := error_of(name, place))}
    absent = [name for name, error in errors.items() if f'has no place {place!r}' in error]
    assert len(names) > 100 and len(names) - len(errors) >= fewest, errors
    for name in errors.keys() - absent:
        error, plain = errors[name], error_of(name, None)
        assert 'nothing was' not in error and plain is not None, (name, error)
        assert error == plain or error.startswith('InputError: '), name  # refused: of another package's backbone
    fuzz_report(
        f'{len(names)} families of detectors with noise at {place}: {len(absent)} have no such place, '
        f'{len(errors) - len(absent)} fail, as without F-Noise'
    )
