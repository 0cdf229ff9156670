"""Runs grouped into conditions, and checks that they are comparable."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli.parser import command_for
from ..errors import InputError
from ..visualization.markup import replace_undecodable
from .runs import Run, is_run, read_run, split_stream

# Settings that differ between runs, machines or starts without making a different condition.
OWN_SETTINGS = ('work_dir', 'randomness.seed', 'resume', 'load_from', 'experiment_name', 'visualizer.name', 'launcher')


class Condition(NamedTuple):
    """Runs that differ in their seed alone, sorted by seed.

    ``excluded`` holds the runs that do not match the others of the comparison.
    """

    name: str
    runs: list[Run]
    excluded: list[Run]

    def by_seed(self) -> dict[int, Run]:
        """Return the runs by seed, or by index if the seed is unknown."""
        return {place if run.seed is None else run.seed: run for place, run in enumerate(self.runs)}


def find_groups(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Find the runs of every condition.

    A path is a run, which is a condition by itself, a folder of runs, each a
    condition, or a folder of conditions that hold runs, as made by
    ``tools/run_pair.py``. A condition is named after its folder; equal names
    are made unique by as much of the path as needed.

    Raises:
        InputError: If a path is not found, holds no run, or occurs twice.
    """
    found: list[tuple[Path, list[Path]]] = []
    for path in paths:
        if not path.exists():
            raise InputError(f'{path} is neither a run (a work dir or a scalars.json) nor a folder of runs')
        groups = list(_groups_in(path))
        if not groups:
            raise InputError(f'no run in {path}: neither it nor its subfolders have a */vis_data/scalars.json')
        found += groups
    return dict(zip(_names([path for path, _ in found]), [runs for _, runs in found]))


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name per path: the shortest ending that is unique."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    parts = [(path.with_suffix('') if path.is_file() else path).parts for path in absolute]
    lengths = [1] * len(paths)
    while True:
        names = [replace_undecodable('/'.join(one[-length:])) for one, length in zip(parts, lengths)]
        counts = Counter(names)
        same = [place for place, name in enumerate(names) if counts[name] > 1]
        if not same:
            return names
        if any(lengths[place] > len(parts[place]) for place in same):
            raise InputError(f'{paths[same[0]]} is given twice')
        for place in same:
            lengths[place] += 1


def _groups_in(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    if is_run(path):
        yield path, [path]
        return
    if not path.is_dir():
        return
    for child in sorted(child for child in path.iterdir() if child.is_dir()):
        runs = [child] if is_run(child) else sorted(run for run in child.iterdir() if run.is_dir() and is_run(run))
        if runs:
            yield child, runs


def read_conditions(groups: Mapping[str, Sequence[Path]]) -> tuple[list[Condition], list[str]]:
    """Read the runs of every condition, and exclude those that do not match the others.

    Data, batch size, schedule, length and losses (of labelled images) must be
    those of the majority of runs. Runs that differ are reported and excluded from the means.

    Returns:
        The conditions, and warnings about the runs.

    Raises:
        InputError: If a run cannot be read, or two runs of a condition have the same seed.
    """
    runs = {
        name: [read_run(path, name if len(paths) == 1 else f'{name}/{path.name}') for path in paths]
        for name, paths in groups.items()
    }
    everyone = [run for of_group in runs.values() for run in of_group]
    protocols = [_protocol(run) for run in everyone]
    usual = {what: _most_common([protocol[what] for protocol in protocols]) for what in protocols[0]}
    warnings = [f'{run.name}: {note}' for run in everyone for note in run.notes]
    conditions = []
    for name, of_group in runs.items():
        kept: list[Run] = []
        excluded: list[Run] = []
        for run in sorted(of_group, key=lambda run: (run.seed is None, run.seed or 0)):
            odd = [
                f'{what} is {value}, not {usual[what]}'
                for what, value in _protocol(run).items()
                if value is not None and usual[what] is not None and value != usual[what]
            ]
            (excluded if odd else kept).append(run)
            if odd:
                warnings.append(f'{run.name} does not match the other runs and is excluded: {"; ".join(odd)}')
            if run.diverged():
                warnings.append(f'{run.name} diverged: {run.diverged()}')
            if not run.val:
                warnings.append(f'{run.name} was never validated: it has no AP and no validation loss')
            elif not any('/' in key for key in run.val[-1]):
                warnings.append(
                    f'the last validation of {run.name} reported no metric (CocoMetric reports none if nothing is '
                    'detected): it has no AP'
                )
        unknown = [run.name for run in kept if run.seed is None]
        if 0 < len(unknown) < len(kept):
            raise InputError(f'the seed of {unknown[0]} is unknown (no run.json), but not that of {kept[0].name}')
        if len(unknown) > 1:
            warnings.append(f'the seeds of the runs of {name} are unknown: they are paired in the order of their names')
        twice = [seed for seed, count in Counter(run.seed for run in kept).items() if seed is not None and count > 1]
        if twice:
            raise InputError(f'condition {name} has {len(twice)} seeds with more than one run, e.g. {twice[0]}')
        conditions.append(Condition(name, kept, excluded))
    reference = conditions[0]
    for condition in conditions[1:]:
        alone = set(reference.by_seed()) ^ set(condition.by_seed())
        if alone and len(reference.runs) + len(condition.runs) > 2:
            warnings.append(
                f'seeds {", ".join(map(str, sorted(alone)))} are in only one of {reference.name} and '
                f'{condition.name} and are excluded from the differences'
            )
    warnings += _within(conditions)
    return _with_one_test(conditions, warnings), warnings


def _with_one_test(conditions: Sequence[Condition], warnings: list[str]) -> list[Condition]:
    """Drop robustness evaluations that were made on other images or with another seed than the first."""
    tested = [run.robustness for condition in conditions for run in condition.runs if run.robustness]
    if not tested:
        return list(conditions)
    most = max(len(found.results) for found in tested)

    def check(run: Run) -> Run:
        found, first = run.robustness, tested[0]
        if found is None:
            warnings.append(f'{run.name} has no robustness evaluation: run {command_for("robustness")}')
        elif (found.ann_file, found.image_ids, found.seed) != (first.ann_file, first.image_ids, first.seed):
            warnings.append(f'the robustness of {run.name} was evaluated on other images or with another seed')
            return run._replace(robustness=None)
        elif len(found.results) < most:
            warnings.append(
                f'{run.name} has {len(found.results)} robustness evaluations, another run {most}: only those that all '
                'runs have are compared'
            )
        return run

    return [condition._replace(runs=list(map(check, condition.runs))) for condition in conditions]


def _protocol(run: Run) -> dict[str, Any]:
    """Return the settings that comparable runs must share, None for those not recorded."""
    settings = flatten(run.record.get('config', {}))

    def part(*names: str) -> str | None:
        found = {key: value for key, value in settings.items() if key.startswith(names)}
        return ', '.join(f'{key}={value}' for key, value in found.items()) or None

    data = run.record.get('data', {})
    return {
        'last iteration': run.train[-1]['step'],
        'last epoch': run.train[-1].get('epoch'),
        'losses': ', '.join(sorted(name for stream, name in map(split_stream, run.losses()) if stream in ('', 'sup'))),
        'validated epochs': ', '.join(str(row['step']) for row in run.val) or None,
        'training data': (data.get('train') or {}).get('ann_file'),
        'validation data': (data.get('val') or {}).get('ann_file'),
        'batch size': (data.get('train') or {}).get('batch_size'),
        'processes': run.record.get('processes'),
        'schedule': part('param_scheduler', 'train_cfg'),
        'optimizer': part('optim_wrapper'),
    }


def _most_common(values: Sequence[Any]) -> Any:
    """Return the most frequent value, the first on ties; None only if there is no other."""
    known = [value for value in values if value is not None]
    return Counter(known).most_common(1)[0][0] if known else None


def _within(conditions: Sequence[Condition]) -> list[str]:
    """Return a warning for each condition whose runs differ in more than the seed."""
    warnings = []
    for condition in conditions:
        configs = [settings_of(run) for run in condition.runs if 'config' in run.record]
        differing = sorted({key for one in configs for key in changed_settings(configs[0], one)})
        if differing:
            warnings.append(f'the runs of {condition.name} differ in more than their seed: {", ".join(differing)}')
    return warnings


def flatten(node: Any, prefix: str = '') -> dict[str, Any]:
    """Return the leaves of a nested config by dotted key."""
    if not isinstance(node, dict | list | tuple) or not node:
        return {prefix: node}
    items = node.items() if isinstance(node, dict) else enumerate(node)
    return {
        key: value
        for name, child in items
        for key, value in flatten(child, f'{prefix}.{name}' if prefix else str(name)).items()
    }


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run by dotted key, without those that are specific to each run.

    The settings of a neck inside an FNoiseNeck, and of a detector inside an FNoiseDetector, have the keys that they
    have without noise.
    """
    settings = flatten(_unwrapped(run.record.get('config', {})))
    return {key: value for key, value in settings.items() if key not in OWN_SETTINGS}


def _wrapped(node: dict[str, Any]) -> str | None:
    """Return the key of what a config wraps with noise, None if it does not."""
    kind = str(node.get('type')).rpartition('.')[2]  # mmengine may have written the module, too
    return dict(FNoiseNeck='neck', FNoiseDetector='detector').get(kind)


def _unwrapped(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_unwrapped(child) for child in node]
    if not isinstance(node, dict):
        return node
    inner = _wrapped(node)
    if inner and isinstance(node.get(inner), dict):
        own = {name: child for name, child in node.items() if name not in ('type', inner)}
        node = {**own, **node[inner]}
    return {name: _unwrapped(child) for name, child in node.items()}


def split_noise(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split the settings of a run into those without noise, and its noises with their places."""
    noises: list[dict[str, Any]] = []

    def plain(node: Any) -> Any:
        if isinstance(node, list | tuple):
            return [plain(child) for child in node]
        if not isinstance(node, dict):
            return node
        if inner := _wrapped(node):
            noises.append({name: child for name, child in node.items() if name != inner})
            return plain(node.get(inner))
        return {name: plain(child) for name, child in node.items()}

    settings = flatten(plain(run.record.get('config', {})))
    # A detector without a neck has no `neck` key; with noise, an empty one.
    return {key: value for key, value in settings.items() if key not in OWN_SETTINGS and value is not None}, noises


def changed_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ as (a's value, b's value), None where one lacks the setting."""
    return {key: (a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}
