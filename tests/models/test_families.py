"""One config of every family that mmdet ships, and of every kind of neck in it, takes a training step with F-Noise."""

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
from fnoise_mmdet.models.necks import find_fnoise_necks
from fnoise_mmdet.visualization.tap import Tap

# What the plain detector lacks here for a step: the messages that it gives without F-Noise too.
LACKING = (
    'transformers is not installed',
    'fairscale',
    'mmpretrain',
    'lap is not installed',
    'sklearn',
    'scikit-image',
    'no backbone of mmdet',  # but one of Detectron2
    "No module named 'torchvision'",
    'implementation for device cpu not found',
    "no attribute 'lines_array'",  # lanes, which CLRNet learns
    'Default process group has not been initialized',  # SyncBN
    "missing 1 required positional argument: 'num_classes'",  # one of the three Cascade RPN configs
)


def cost(name: str, cfg: Config) -> tuple[Any, ...]:
    """Order configs by how long a step takes, as far as their settings tell."""
    depth = (find_detector(cfg)[1].get('backbone') or {}).get('depth')
    return depth if isinstance(depth, int) else 50, len(name), name


def representatives() -> list[str]:
    """Give the cheapest config of each family and kind of neck."""
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
    """Give what a step trains: the student of a pair, the detector of a tracker that learns nothing else."""
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
    """Give the smallest size that leaves every level a pixel, and transformers as many places as queries."""
    for text, size in {'ssd300': 300, 'ssd512': 512, 'ddod': 320}.items():
        if text in name:
            return size
    return 320 if cfg.model.get('num_queries', 0) > 400 else 128


def take_step(name: str) -> None:
    cfg = add_fnoise(read_shipped(name))
    model = MODELS.build(cfg.model)
    initialise(model)
    model.train()
    model = trained_part(model)
    data = batch(model, cfg, image_size(name, cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    tap = Tap(find_fnoise_necks(model)[0])
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    tap.detach()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters())), 'nothing was learnt'
    assert any(not torch.equal(x, y) for x, y in zip(tap.clean, tap.perturbed)), 'nothing was perturbed'


@pytest.mark.slow
def test_every_family_takes_a_training_step():
    MMLogger.get_instance('mmengine').setLevel('ERROR')
    init_default_scope('mmdet')
    hub = MessageHub.get_instance('families')
    hub.update_info('epoch', 0)
    hub.update_info('iter', 0)
    hub.update_info('max_iters', 100)
    names = representatives()
    failed, lacking = {}, []
    for name in names:
        torch.manual_seed(0)
        try:
            take_step(name)
        except Exception as error:
            if any(message in str(error) for message in LACKING):
                lacking.append(name)
            else:
                failed[name] = f'{type(error).__name__}: {str(error)[:200]}'
    print(f'{len(names)} configs: {len(names) - len(failed) - len(lacking)} took a step, {len(lacking)} lack a package')
    assert not failed
    assert len(names) > 100 and len(lacking) < 25, lacking
