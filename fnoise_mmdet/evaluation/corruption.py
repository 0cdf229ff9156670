"""Images of a robustness evaluation: corrupted reproducibly, or of another domain."""

import contextlib
import hashlib
import inspect
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from ..errors import InputError, did_you_mean

MIN_SIDE = 32  # pixels, the minimum of imagecorruptions
INSTALL = 'pip install imagecorruptions-imaug'


def from_package(image: np.ndarray, name: str, severity: int, seeds: np.random.SeedSequence) -> np.ndarray:
    """Apply a corruption of the package ``imagecorruptions`` (Michaelis et al., arXiv 1907.07484).

    It made the corruptions of Hendrycks and Dietterich work on images of any size.
    """
    from imagecorruptions import corrupt as apply  # imported late: slow, and not needed for feature noise
    from imagecorruptions import corruption_dict

    numbers = seeds.generate_state(4)
    # Some corruptions draw from NumPy's global stream, others take a seed.
    takes_seed = 'seed' in inspect.signature(corruption_dict[name]).parameters
    own = {'seed': int(numbers[0])} if takes_seed else {}
    # They print on small images.
    with _global_stream(numbers), contextlib.redirect_stdout(io.StringIO()):
        corrupted: np.ndarray = apply(image, severity, name, **own)
    return corrupted


Corruption = Callable[[np.ndarray, str, int, np.random.SeedSequence], np.ndarray]
# Every corruption by its group: the common ones of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness
# to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261. Another one needs an entry
# here and its name in ``choices.py``.
CORRUPTIONS: dict[str, dict[str, Corruption]] = {
    'noise': dict.fromkeys(('gaussian_noise', 'shot_noise', 'impulse_noise'), from_package),
    'blur': dict.fromkeys(('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'), from_package),
    'weather': dict.fromkeys(('snow', 'frost', 'fog', 'brightness'), from_package),
    'digital': dict.fromkeys(('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'), from_package),
}


def corruption_names(words: Sequence[str]) -> list[str]:
    """Expand names and groups of corruptions, or ``none``, in the order of the groups.

    Raises:
        InputError: If a name is unknown; the message suggests the closest one.
    """
    every = [name for names in CORRUPTIONS.values() for name in names]
    known = [*every, *CORRUPTIONS, 'none']
    chosen: set[str] = set()
    for word in words:
        if word not in known:
            raise InputError(
                f'unknown corruption {word}{did_you_mean(word, known, cutoff=0)} Choices: {", ".join(every)}; '
                f'the groups {", ".join(CORRUPTIONS)}; or none'
            )
        chosen |= {*CORRUPTIONS.get(word, [word])}
    if 'none' in chosen and len(chosen) > 1:
        raise InputError('corruption none cannot be combined with other names')
    return [name for name in every if name in chosen]


def check_corruptions(names: Sequence[str]) -> None:
    """Check on a small image that the corruptions run and are reproducible.

    This also triggers JIT compilation before workers are forked.

    Raises:
        InputError: If the package is missing, or a corruption fails with the
            installed versions or is not reproducible.
    """
    if any(_function(name) is from_package for name in names):
        try:
            import imagecorruptions  # noqa: F401
        except ImportError as error:
            raise InputError(
                f'corruptions need the package imagecorruptions ({error}): {INSTALL}, or disable them '
                'with --corruptions none'
            ) from error
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in names:
        try:
            once, again = (corrupt(image, name, 3, seed=0, image_id=0) for _ in range(2))
        except Exception as error:  # many types, from incompatible scikit-image, numba or OpenCV
            raise InputError(
                f'corruption {name} fails with the installed versions ({type(error).__name__}: {error}): '
                f'{INSTALL}, or remove it from --corruptions'
            ) from error
        if not np.array_equal(once, again):
            raise InputError(
                f'corruption {name} of the installed imagecorruptions takes no seed and is not reproducible: '
                f'{INSTALL}, which does, or remove it from --corruptions'
            )


def corrupt(image: np.ndarray, name: str, severity: int, seed: int, image_id: int | str) -> np.ndarray:
    """Corrupt an image, without changing NumPy's global random state.

    Args:
        image: RGB, uint8, of shape (H, W, 3), with sides >= 32 pixels.
        name: A name in :data:`CORRUPTIONS`.
        severity: From 1 to 5.
        seed: Seed of the random numbers, together with name,
            severity and ``image_id``.
        image_id: Id of the image.

    Returns:
        The corrupted image, of the same shape and dtype.
    """
    seeds = np.random.SeedSequence([seed, as_number(image_id), as_number(name), severity])
    return _function(name)(image, name, severity, seeds)


def _function(name: str) -> Corruption:
    return next(functions[name] for functions in CORRUPTIONS.values() if name in functions)


def as_number(name: Any) -> int:
    """Return a name, such as an image id, as a number for the key of a random stream."""
    return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], 'big')


@contextlib.contextmanager
def _global_stream(numbers: np.ndarray) -> Iterator[None]:
    """Seed NumPy's global random stream within the block, and restore it afterwards."""
    state = np.random.get_state()
    np.random.seed(numbers)
    try:
        yield
    finally:
        np.random.set_state(state)


@TRANSFORMS.register_module()
class SeededCorrupt(BaseTransform):
    """Corrupt an image after loading, reproducibly.

    mmdet's ``Corrupt`` draws from NumPy's global stream, so the result depends
    on the worker and on earlier draws, and it passes BGR to functions for RGB.
    Here the result is a function of seed, image id, corruption and severity,
    so that several detectors see the same images.

    Required keys: ``img`` (BGR as mmcv loads it), ``img_id``, ``img_path``.
    Modified key: ``img``.

    Args:
        corruption: A name in :data:`CORRUPTIONS`, or None for the unchanged
            image. Defaults to None.
        severity: From 1 to 5. Defaults to 1.
        seed: Defaults to 0.

    Raises:
        InputError: If an image has a side < 32 pixels, or not three channels.
    """

    def __init__(self, corruption: str | None = None, severity: int = 1, seed: int = 0) -> None:
        self.corruption = corruption
        self.severity = severity
        self.seed = seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if self.corruption is None:
            return results
        image = results['img']
        path = results.get('img_path')
        if image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f'image {path} cannot be corrupted: it must have 3 channels, but is {image.shape}')
        check_size(path, image.shape[1], image.shape[0])
        rgb = np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)  # some pipelines load float images
        corrupted = corrupt(rgb, self.corruption, self.severity, self.seed, results['img_id'])
        results['img'] = np.ascontiguousarray(corrupted[..., ::-1], dtype=image.dtype)
        return results

    def __repr__(self) -> str:
        return f'SeededCorrupt(corruption={self.corruption!r}, severity={self.severity}, seed={self.seed})'


@TRANSFORMS.register_module()
class OtherDomain(BaseTransform):
    """Load an image from another folder, where the file of the same name shows the same scene in another domain.

    Required key: ``img_path``. Modified key: ``img_path``.

    Args:
        images: Folder of the images of the data set.
        folder: The other folder, or None for the unchanged image. Defaults to None.
    """

    def __init__(self, images: str, folder: str | None = None) -> None:
        self.images = images
        self.folder = folder

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if self.folder is not None:
            results['img_path'] = str(Path(self.folder, Path(results['img_path']).relative_to(self.images)))
        return results

    def __repr__(self) -> str:
        return f'OtherDomain(images={self.images!r}, folder={self.folder!r})'


def check_size(name: Any, width: int, height: int) -> None:
    """Check that an image is large enough for corruptions.

    Raises:
        InputError: If a side is < 32 pixels.
    """
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f'image {name} of {width} x {height} pixels cannot be corrupted: no side may be below {MIN_SIDE}'
        )
