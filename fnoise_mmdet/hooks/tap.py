"""Take features from a forward pass, and leave no trace in the model."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..necks import FNoiseNeck


class Tap:
    """Take what one forward pass feeds to the noise and what the noise makes of it.

    ``clean`` and ``perturbed`` are the levels, each (B, C, H, W); ``perturbed``
    stays None where the neck has no noise. ``padded_shape`` is the height and
    width of the batch that goes into the backbone, where one is given.
    """

    def __init__(self, neck: nn.Module, backbone: nn.Module | None = None) -> None:
        self.neck = neck
        self.padded_shape: Sequence[int] | None = None
        self.clean: Sequence[Tensor] | None = None
        self.perturbed: Sequence[Tensor] | None = None
        self._handles = [] if backbone is None else [backbone.register_forward_pre_hook(self._take_shape)]
        if not isinstance(neck, FNoiseNeck):
            self._handles += [neck.register_forward_pre_hook(self._take_clean)]
        elif neck.position == 'pre':
            self._handles += [
                neck.register_forward_pre_hook(self._take_clean),
                neck.neck.register_forward_pre_hook(self._take_perturbed),
            ]
        else:
            self._handles += [
                neck.neck.register_forward_hook(self._take_clean),
                neck.register_forward_hook(self._take_perturbed),
            ]

    # Of several passes the first one counts.
    def _take_shape(self, backbone: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.padded_shape is None:
            self.padded_shape = inputs[0].shape[2:]

    # The last argument is the input of a forward pre-hook and the output of a forward hook.
    def _take_clean(self, *call: Any) -> None:
        if self.clean is None:
            self.clean = _levels(call[-1])

    def _take_perturbed(self, *call: Any) -> None:
        if self.perturbed is None:
            self.perturbed = _levels(call[-1])

    def detach(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()


def _levels(features: Any) -> Sequence[Tensor]:
    """Unpack the argument tuple around the levels that a forward pre-hook is given; a single level may stand alone."""
    if isinstance(features, Tensor):
        return [features]
    return features if isinstance(features[0], Tensor) else features[0]
