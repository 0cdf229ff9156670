"""Spread of detections over several draws of the noise."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .detections import Detection
from .outcomes import by_score, match_objects

UNCERTAIN = (0.05, 0.95)  # shares of the samples between which a pixel is neither background nor object


class Spread(NamedTuple):
    """A detection without noise, and the detections of the same object under ``total`` draws of the noise."""

    detection: Detection
    samples: Sequence[Detection]
    total: int

    @property
    def boxes(self) -> np.ndarray:
        """Boxes of the samples, float (N, 4), in pixels."""
        return np.array([one.box for one in self.samples], dtype=float).reshape(-1, 4)

    @property
    def mask(self) -> np.ndarray | None:
        """Share of the samples whose mask has a pixel, float (H, W); None without masks or samples."""
        masks = [one.mask for one in self.samples if one.mask is not None]
        return np.mean(masks, axis=0) if masks else None

    def summary(self) -> dict[str, Any]:
        """Return mean and standard deviation over the samples, for JSON; None where there are too few samples."""
        scores = [one.score or 0.0 for one in self.samples]
        some, several = len(scores) > 0, len(scores) > 1
        return dict(
            samples=self.total,
            detected=len(scores),
            score_mean=statistics.fmean(scores) if some else None,
            score_std=statistics.stdev(scores) if several else None,
            bbox_mean=self.boxes.mean(axis=0).tolist() if some else None,
            bbox_std=self.boxes.std(axis=0, ddof=1).tolist() if several else None,
        )


def spread_of(detections: Sequence[Detection], samples: Sequence[Sequence[Detection]]) -> list[Spread]:
    """Assign the detections of each sample to those without noise.

    A detection of a sample is of the same object if :func:`.match_objects`
    matches the two: same class, IoU of at least 0.5, each matched once.

    Args:
        detections: Detections of an image without noise.
        samples: Detections of the image under each draw of the noise.

    Returns:
        One spread per detection, in the same order.
    """
    found: list[list[Detection]] = [[] for _ in detections]
    for sample in samples:
        ordered = by_score(sample)
        for one, match in zip(ordered, match_objects(detections, ordered)):
            if match is not None:
                found[match].append(one)
    return [Spread(one, own, len(samples)) for one, own in zip(detections, found)]


def spread_columns(spreads: Sequence[Spread], total: int) -> list[tuple[str, list[Detection]]]:
    """Return the columns of :func:`.detections_panel` that show detections and their spread.

    The first has the detections without noise; the second the means of the
    samples; the third the boxes of all samples, and as masks the pixels on
    which they disagree.

    Args:
        spreads: Spreads of an image.
        total: Number of samples.
    """
    means, disagreements = [], []
    for spread in spreads:
        detection, summary, mask = spread.detection, spread.summary(), spread.mask
        often = f'{summary["detected"]} of {total}'
        if not spread.samples:
            disagreements.append(detection._replace(mask=None, text=often))
            continue
        box = summary['bbox_mean']
        score = f'{detection.label} {summary["score_mean"]:.2f}'
        if summary['score_std'] is not None:
            score += f' ± {summary["score_std"]:.2f}'
            often = f'± {max(summary["bbox_std"]):.1f} px, {often}'
        means.append(
            detection._replace(
                box=box, score=summary['score_mean'], mask=None if mask is None else mask >= 0.5, text=score
            )
        )
        low, high = UNCERTAIN
        disagreements += [one._replace(mask=None, text='') for one in spread.samples]
        disagreements.append(
            detection._replace(box=box, mask=None if mask is None else (mask > low) & (mask < high), text=often)
        )
    return [
        ('without noise', [spread.detection for spread in spreads]),
        (f'mean of {total} samples with noise', means),
        ('all samples: boxes, and pixels in which the masks differ', disagreements),
    ]
