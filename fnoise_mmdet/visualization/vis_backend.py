"""mmengine's local visualization backend with atomic writes of images."""

from pathlib import Path

import numpy as np
from mmdet.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend

from ..datasets.files import encode_png, write_atomically


@VISBACKENDS.register_module()
class AtomicLocalVisBackend(LocalVisBackend):
    """mmengine's ``LocalVisBackend`` with atomic writes of images."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: object) -> None:
        """Save an RGB image, uint8 (H, W, 3), as ``vis_image/{name}_{step}.png``."""
        self.experiment  # noqa: B018  # the property creates the folders
        folder = Path(self._img_save_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f'{name}_{step}.png', encode_png(image))
