"""One of the processes of test_distributed.py: a few steps of distributed training, saved for comparison."""

import sys

import torch
import torch.distributed as dist
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from torch.nn.parallel import DistributedDataParallel

import fnoise_mmdet  # noqa: F401  # registers the neck
from fnoise_mmdet.visualization.tap import Tap


def main(config: str, rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world_size)
    init_default_scope('mmdet')
    hub = MessageHub.get_instance('ddp')
    hub.update_info('seed', 3)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    ddp = DistributedDataParallel(model.train(), find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    # The same images everywhere, so that noise alone can tell the ranks apart.
    data = model.data_preprocessor(demo_mm_inputs(2, [[3, 64, 64]] * 2, with_mask=True, num_classes=5), True)
    taken = []
    for iteration in range(3):
        hub.update_info('iter', iteration)
        tap = Tap(model.neck)
        loss, _ = model.parse_losses(ddp(**data, mode='loss'))
        tap.detach()
        taken.append([(x.detach(), y.detach()) for x, y in zip(tap.clean, tap.perturbed)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(dict(features=taken, weights=model.state_dict()), f'{folder}/rank_{rank}.pth')
    dist.destroy_process_group()


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
