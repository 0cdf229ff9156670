"""Estimated remaining time of a sequence of evaluations."""

from collections.abc import Iterable, Mapping

from .robustness import CostGroup, Evaluation, cost_group


class TimeLeft:
    """Estimate the remaining time of evaluations, which take longer or shorter by what they do to the images.

    An evaluation takes its expected time, corrected by the time that finished
    evaluations of the same group took; where there are none, by that of the
    same kind, else of all.

    Args:
        evaluations: Evaluations in their order, each with its number of images.
        expected: Expected seconds per image of every group.
    """

    def __init__(self, evaluations: Iterable[tuple[Evaluation, int]], expected: Mapping[CostGroup, float]) -> None:
        self._todo = [(cost_group(evaluation), images) for evaluation, images in evaluations]
        self._expected = expected
        self._done: list[tuple[CostGroup, float, float]] = []  # group, expected and measured seconds

    def finish(self, seconds: float) -> None:
        """Record that the next evaluation has finished, and its time."""
        group, images = self._todo.pop(0)
        self._done.append((group, self._expected[group] * images, seconds))

    def seconds(self, images: int = 0) -> float:
        """Return the remaining time.

        Args:
            images: Number of images that the current evaluation has finished. Defaults to 0.
        """
        per_image = {group: self._seconds_per_image(group) for group, _ in self._todo}
        left = sum(per_image[group] * images for group, images in self._todo)
        return left - (per_image[self._todo[0][0]] * images if self._todo else 0.0)

    def _seconds_per_image(self, group: CostGroup) -> float:
        for similar in (
            [one for one in self._done if one[0] == group],
            [one for one in self._done if one[0].kind == group.kind],
            self._done,
        ):
            expected = sum(one[1] for one in similar)
            if expected > 0:
                return self._expected[group] * sum(one[2] for one in similar) / expected
        return self._expected[group]
