"""Train torchvision's Mask R-CNN on batches of mmdet step by step, as reference of `benchmark.py peer`.

torchvision's wheels need the torch that they were built with. If mmcv was built with another one, this
file runs in a separate environment: it needs only torch and torchvision.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torchvision

VERSIONS = f'torch {torch.__version__}, torchvision {torchvision.__version__}'


def make_step(
    batches: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], amp: bool = False
) -> Callable[[], float]:
    """Build the model with random weights, and return a function that trains it on the next batch.

    Args:
        batches: ``images``, a list of float tensors (3, H, W) of values in [0, 1], and ``targets``, a list of dicts
            of ``boxes`` (N, 4), ``labels`` (N,) from 1 on and ``masks`` (N, H, W).
        settings: ``model``, keyword arguments of the model, ``optimizer``, those of SGD, and ``max_norm`` of the
            gradients.
        amp: Whether losses are computed in mixed precision: torch's autocast to bfloat16.
    """
    torch.manual_seed(0)
    model = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, **settings['model']
    ).train()
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], **settings['optimizer'])
    coming = itertools.cycle(batches)

    def step() -> float:
        batch = next(coming)
        with torch.autocast(batch['images'][0].device.type, torch.bfloat16, enabled=amp):
            loss = sum(model(list(batch['images']), list(batch['targets'])).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings['max_norm'])
        optimizer.step()
        return float(loss)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', help='batches and settings, as benchmark.py writes them')
    parser.add_argument('--threads', type=int, help='of torch')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    inputs = torch.load(args.file, weights_only=True)
    steps = {name: make_step(**inputs, amp=name == 'amp') for name in ('plain', 'amp')}
    print(VERSIONS, flush=True)
    for line in sys.stdin:  # the name of each step that is asked for
        print(steps[line.strip()](), flush=True)


if __name__ == '__main__':
    main()
