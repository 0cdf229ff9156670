"""What each process of a training saw, saved by a hook that the tests put into its config."""

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.visualization.tap import Tap


@HOOKS.register_module()
class RankProbe(Hook):
    """Save the losses, the features of the first iteration, and the last weights of each process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.losses: list[dict[str, float]] = []
        self.features: list = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        necks = find_noise_layers(runner.model)
        self.tap = Tap(necks[0]) if necks and not self.features else None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: float(value) for name, value in outputs.items() if 'loss' in name})
        if self.tap:
            self.tap.detach()
            self.features = [(x.detach(), y.detach()) for x, y in zip(self.tap.clean, self.tap.perturbed)]

    def after_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        seen = dict(losses=self.losses, features=self.features, weights=dict(model.named_parameters()))
        torch.save(seen, f'{self.folder}/rank_{get_rank()}.pth')
