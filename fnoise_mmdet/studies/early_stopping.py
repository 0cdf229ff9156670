"""Early stopping of the conditions of a study."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from ..comparison.runs import is_run, read_run
from ..datasets.files import read_json, require
from ..errors import InputError, RunError
from .study import StudyRun


class Rungs(NamedTuple):
    """Settings of early stopping: epochs of the rungs, metric, and reduction factor."""

    epochs: list[int]
    metric: str
    factor: int

    @property
    def higher_is_better(self) -> bool:
        """Return whether higher values of the metric are better, i.e. it is not a loss."""
        return 'loss' not in self.metric

    @classmethod
    def of(cls, cfg: Config, metric: str, grace: int, factor: int) -> 'Rungs':
        """Return the rungs of a training: its epochs ``grace``, ``grace`` times ``factor``, and so on.

        Raises:
            InputError: If the training is not epoch-based, ends before the
                first rung, or does not validate at a rung.
        """
        train = cfg.train_cfg
        length = train.get('max_epochs')
        if not length:
            raise InputError('--asha needs epoch-based training, but this training is iteration-based')
        if grace >= length:
            raise InputError(f'--asha-grace {grace}: the training has only {length} epochs')
        epochs = []
        while grace < length:
            epochs.append(grace)
            grace *= factor
        unseen = [one for one in epochs if one < train.get('val_begin', 1) or one % train.get('val_interval', 1)]
        if unseen:
            raise InputError(
                f'--asha decides after epoch {unseen[0]}, which is not validated: choose another --asha-grace, or '
                '--cfg-options train_cfg.val_interval=1'
            )
        return cls(epochs, metric, factor)

    def decide(
        self, scores: Mapping[str, Sequence[Mapping[int, float]]], promoted: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Decide which conditions are promoted, by the rule of ASHA (Li et al., arXiv 1810.05934) on whole conditions.

        A condition reaches a rung when all of its seeds have been validated
        there, and waits. The best 1/``factor`` of those that have reached it
        are promoted; at least one once all have. The others are cut
        when no further condition can reach the rung.

        Args:
            scores: Metric of each condition, by seed and validated epoch.
            promoted: Last rung from which each condition was promoted; promotions are final.

        Returns:
            The promoted and the cut conditions, each with the epoch of its rung.
        """
        cut: dict[str, int] = {}
        promoted = dict(promoted)
        rivals, all_came = list(scores), True
        for epoch in self.epochs:
            came = [name for name in rivals if all(epoch in of_seed for of_seed in scores[name])]
            all_came = all_came and len(came) == len(rivals)
            came.sort(key=lambda name: self._rank(scores[name], epoch))
            most = max(len(came) // self.factor, int(all_came))
            for name in came[:most]:
                promoted[name] = max(promoted.get(name, 0), epoch)
            gone_on = [name for name in rivals if promoted.get(name, 0) >= epoch]
            if all_came:
                cut |= {name: epoch for name in rivals if name not in gone_on}
            rivals = gone_on
        return promoted, cut

    def _rank(self, of_seeds: Sequence[Mapping[int, float]], epoch: int) -> float:
        """Return a sort key that is lower for better values, with NaN last."""
        mean = float(np.mean([of_seed[epoch] for of_seed in of_seeds]))
        return math.inf if math.isnan(mean) else -mean if self.higher_is_better else mean

    def next_rung(self, promoted: int) -> int | None:
        """Return the epoch up to which a condition may train, None for the whole training."""
        return next((epoch for epoch in self.epochs if epoch > promoted), None)


def read_scores(run: StudyRun, metric: str) -> dict[int, float]:
    """Return a metric of a run by validated epoch.

    Raises:
        RunError: If a validation does not have it.
    """
    rows = read_run(run.work_dir).val if is_run(run.work_dir) else []
    for row in rows:
        if metric not in row:
            known = ', '.join(sorted(key for key in row if key != 'step'))
            raise RunError(f'--asha-metric {metric}: not reported by the validation of {run}, which has: {known}')
    return {row['step']: float(row[metric]) for row in rows}


def decisions_file(out: Path) -> Path:
    """Return the file of the decisions of early stopping in a study."""
    return out / 'sweep.json'


def read_decisions(out: Path) -> dict[str, Any]:
    """Return the decisions of early stopping in a study, empty if there were none.

    Raises:
        InputError: If it is another file.
    """
    file = decisions_file(out)
    if not file.is_file():
        return {}

    def parse(content: Any) -> dict[str, Any]:
        epochs = [epoch for of_conditions in content.values() for epoch in of_conditions.values()]
        require(all(type(epoch) is int for epoch in epochs), 'decisions must be epochs')
        return content

    return read_json(file, 'is not the file of the decisions of a sweep', parse)


def cut_after(work_dir: Path) -> int | None:
    """Return the epoch after which early stopping cut the condition of a run, None if it did not."""
    folder = work_dir.absolute().parent
    try:
        epoch: int | None = read_decisions(folder.parent).get('cut', {}).get(folder.name)
    except InputError:  # a file of another program
        return None
    return epoch
