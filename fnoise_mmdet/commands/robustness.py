"""Evaluate checkpoints on corrupted images and other domains, and under perturbations of the features."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ..comparison.numbers import duration, number
from ..comparison.robustness import Cell, Robustness, read_robustness
from ..comparison.table import Row, Section, Table
from ..config import PUBLISHED_PLACES, load_config, use_data_root
from ..datasets.files import check_writable
from ..engine.resume import pointed_checkpoint
from ..errors import InputError
from ..evaluation.corruption import CORRUPTIONS, check_corruptions, corruption_names
from ..evaluation.robustness import Evaluation, ResultFile, RobustnessSetup, make_plan
from ..evaluation.time_left import TimeLeft
from ..studies.log_lines import LogLines
from .output import terminal


class Evaluated(NamedTuple):
    """A checkpoint to evaluate and its output folder."""

    work_dir: Path
    config: str
    checkpoint: Path


def find_runs(paths: Sequence[Path]) -> list[Evaluated]:
    """Return the trainings in the given work dirs and folders of work dirs.

    Raises:
        InputError: If a path is not a folder, or holds no training that can be evaluated.
    """
    work_dirs: dict[Path, Path] = {}  # by resolved path, to avoid duplicates
    for path in paths:
        if not path.is_dir():
            raise InputError(f'run {path} is not a folder')
        found = (
            [path] if (path / 'last_checkpoint').is_file() else sorted(p.parent for p in path.rglob('last_checkpoint'))
        )
        if not found:
            raise InputError(f'run {path} and its subfolders have no last_checkpoint: was anything trained there?')
        for work_dir in found:
            work_dirs.setdefault(work_dir.resolve(), work_dir)
    return [read_work_dir(work_dir) for work_dir in work_dirs.values()]


def read_work_dir(work_dir: Path) -> Evaluated:
    """Find the config and the last checkpoint of a training.

    Raises:
        InputError: If there is not exactly one config, or the checkpoint is not found.
    """
    configs = sorted(work_dir.glob('*.py'))
    if len(configs) != 1:
        names = ', '.join(path.name for path in configs) or 'none'
        raise InputError(
            f'work dir {work_dir} must hold exactly one config, but holds {names}: use --config, --checkpoint and --out'
        )
    checkpoint = pointed_checkpoint(work_dir)
    if not checkpoint.is_file():
        raise InputError(f'checkpoint {checkpoint} of {work_dir / "last_checkpoint"} not found')
    return Evaluated(work_dir, str(configs[0]), checkpoint)


def prepare(run: Evaluated, args: argparse.Namespace, plan: Sequence[Evaluation]) -> tuple[RobustnessSetup, ResultFile]:
    """Check a run before any evaluation."""
    cfg = load_config(run.config, args.cfg_options)
    if cfg.get(f'{args.part}_dataloader'):
        use_data_root(cfg, args.data_root, required=(args.part,))
    setup = RobustnessSetup(cfg, run.checkpoint, args.part, args.seed, args.images)
    if any(one.kind == 'corruption' for one in plan):
        setup.check_sizes()
    for folder in args.domain.values():
        setup.check_domain(folder)
    results = ResultFile(run.work_dir, setup, args.force)
    if results.missing(plan):
        check_writable(results.path.parent)
        setup.load_model(preset(plan))
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if epochs and 0 < setup.meta.get('epoch', 0) < epochs:
        print(f'{run.work_dir}: the checkpoint is of epoch {setup.meta["epoch"]} of {epochs}')
    if results.note:
        print(f'{run.work_dir}: {results.note}')
    return setup, results


def preset(plan: Sequence[Evaluation]) -> str | None:
    """Return the preset that places the noise, None if no feature is perturbed."""
    found = next((one.preset for one in plan if one.preset is not None), None)
    return found or ('cct' if any(one.kind == 'deployment' for one in plan) else None)


def metric_title(metric: str) -> str:
    return {'segm_mAP': 'mask AP', 'bbox_mAP': 'box AP'}[metric]


def corruption_table(robustness: Robustness, metric: str, cells: Sequence[Cell]) -> Table:
    """Return a table with one row per corruption and one column per severity."""
    values = robustness.corrupted(metric, cells)
    severities = sorted({severity for _, severity in cells})
    by_corruption, by_severity = robustness.by_corruption(metric, cells), robustness.by_severity(metric, cells)
    rows = [
        Row([name, *(number(values.get((name, one))) for one in severities), number(by_corruption.get(name))])
        for name in dict.fromkeys(name for name, _ in cells)
    ]
    means = [number(by_severity.get(one)) for one in severities]
    last = Row(['mean', *means, number(robustness.mpc(metric, cells))])
    heads = ['corruption', *map(str, severities), 'mean']
    return Table(heads, [Section('', rows), Section('', [last])], len(heads) - 1)


def noise_table(robustness: Robustness, scales: Sequence[float], preset: str) -> Table:
    """Return a table with one row per metric and one column per scale of the feature noise."""
    heads = ['', *(f'{value:g}' if value else 'clean' for value in scales)]
    rows = []
    for metric in robustness.metric_names():
        values = robustness.by_scale(metric, preset)
        rows.append([metric_title(metric), *(number(values.get(value)) for value in scales)])
    return Table.of(heads, rows)


def deployment_table(robustness: Robustness) -> Table:
    """Return a table with one row per perturbation by hardware, the weakest first."""
    metrics = robustness.metric_names()
    of_metrics = [robustness.against_snr(metric) for metric in metrics]
    rows = [
        [name, number(snr, 1), *(number(values[name][1]) for values in of_metrics)]
        for name, (snr, _) in of_metrics[0].items()
    ]
    clean = ['clean', number(None), *(number(robustness.clean(metric)) for metric in metrics)]
    return Table.of(['features', 'SNR (dB)', *map(metric_title, metrics)], [clean, *rows])


def domain_table(robustness: Robustness, names: Sequence[str]) -> Table:
    """Return a table with one row per domain, the data set's own first."""
    metrics = robustness.metric_names()
    own = ['own', *(number(robustness.clean(metric)) for metric in metrics)]
    others = [[name, *(number(robustness.by_domain(metric).get(name)) for metric in metrics)] for name in names]
    return Table.of(['domain', *map(metric_title, metrics)], [own, *others])


def summary_table(
    runs: Sequence[tuple[str, Robustness]], metric: str, cells: Sequence[Cell], domains: Sequence[str]
) -> Table:
    """Return a table with one row per run."""
    heads = ['run', 'clean', *(['mPC', 'rPC'] if cells else []), *domains]
    rows = []
    for name, one in runs:
        relative = [one.mpc(metric, cells), one.rpc(metric, cells)] if cells else []
        of_domains = one.by_domain(metric)
        rows.append([name, *map(number, [one.clean(metric), *relative, *map(of_domains.get, domains)])])
    return Table.of(heads, rows)


def describe(cells: Sequence[Cell]) -> str:
    """Return the corruptions and severities of mPC as text."""
    names, severities = {name for name, _ in cells}, sorted({severity for _, severity in cells})
    missing = [group for group, members in CORRUPTIONS.items() if not names >= {*members}]
    which = 'all 15 corruptions' if not missing else f'{len(names)} of 15 corruptions ({", ".join(sorted(names))})'
    return f'over {which} at severit{"y" if len(severities) == 1 else "ies"} {", ".join(map(str, severities))}'


def report(console: Console, name: str, robustness: Robustness, plan: Sequence[Evaluation]) -> None:
    """Print the results of a run."""
    cells = cells_of(plan)
    head = Text.assemble('\n', (name, 'bold'), f' · {robustness.checkpoint} · {len(robustness.image_ids)} images')
    console.print(head, soft_wrap=True)
    names = robustness.metric_names()
    if cells and names:
        title = f'{metric_title(names[0])} at severity'
        console.print(corruption_table(robustness, names[0], cells).terminal(title))
    for metric in names:
        clean, rpc = robustness.clean(metric), robustness.rpc(metric, cells)
        text = f'{metric_title(metric)} {number(clean)} on clean images'
        if cells:
            relative = 'undefined, because the AP on clean images is 0' if clean == 0 else number(rpc)
            text += f', mPC {number(robustness.mpc(metric, cells))}, rPC {relative}'
        console.print(text, soft_wrap=True)
    if cells:
        console.print(f'mPC and rPC are {describe(cells)}', soft_wrap=True)
    scales = [0.0, *(one.scale for one in plan if one.kind == 'feature_noise' and one.scale)]
    used = preset(plan)
    if used is not None and len(scales) > 1:
        title = f'AP at scale of the feature noise {used}'
        console.print(noise_table(robustness, scales, used).terminal(title))
    domains = domains_of(plan)
    if names and domains:
        console.print(domain_table(robustness, domains).terminal('AP in other domains'))
    if names and any(one.kind == 'deployment' for one in plan):
        console.print(deployment_table(robustness).terminal('AP with features as on hardware'))


def cells_of(plan: Sequence[Evaluation]) -> list[Cell]:
    return [(one.name, one.severity) for one in plan if one.name is not None and one.severity is not None]


def domains_of(plan: Sequence[Evaluation]) -> list[str]:
    return [one.name for one in plan if one.kind == 'domain' and one.name is not None]


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.deployment and args.noise_scales and args.noise_preset in PUBLISHED_PLACES:
        raise InputError(
            f'--deployment perturbs every level before the neck, but --noise-preset {args.noise_preset} perturbs other '
            'features: use two commands, with an empty --noise-scales in the one with --deployment'
        )
    MMLogger.get_current_instance().setLevel('ERROR')
    names = corruption_names(args.corruptions)
    plan = make_plan(names, args.severities, args.noise_scales, args.noise_preset, args.deployment, args.domain)
    runs = find_runs(args.runs) if args.runs else [Evaluated(args.out, args.config, args.checkpoint)]
    prepared = [prepare(run, args, plan) for run in runs]
    check_corruptions(names)

    console = terminal()
    evaluated: list[tuple[str, Robustness]] = []
    columns = (
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('images{task.fields[left]}', markup=False),
    )
    todo = [(one, len(setup.image_records)) for setup, results in prepared for one in results.missing(plan)]
    count, total = len(todo), sum(images for _, images in todo)
    if count:
        console.print(
            f'{count} evaluations, {total} images in all; fewer with --severities 3, --corruptions NAMES or --images N',
            soft_wrap=True,
        )
    time_left: TimeLeft | None = None
    in_terminal = console.is_terminal
    with Progress(*columns, console=console, disable=not in_terminal) as progress:
        task = progress.add_task('', total=total, left='')
        lines = LogLines('images', total)
        for place, (run, (setup, results)) in enumerate(zip(runs, prepared), start=1):
            missing = results.missing(plan)
            if missing:
                results.start()
                evaluator = setup.build(preset(plan))
                if time_left is None:
                    time_left = TimeLeft(todo, evaluator.expect([evaluation for evaluation, _ in todo]))
                    in_all = duration(time_left.seconds())
                    console.print(
                        f'about {in_all} in all, estimated from one batch per kind of evaluation', soft_wrap=True
                    )
            for evaluation in missing:
                assert time_left is not None, 'set before the first'
                at, began, done = f'run {place}/{len(runs)} · {evaluation.label()}', time.monotonic(), 0
                progress.update(task, description=at)

                def advance(images: int, at: str = at, time_left: TimeLeft = time_left) -> None:
                    nonlocal done
                    done += images
                    left = time_left.seconds(done)
                    progress.update(task, advance=images, left=f', {duration(left)} left')
                    if not in_terminal:
                        lines.advance(images, at, left)

                metrics = evaluator.evaluate(evaluation, results.predictions, advance)
                results.add(evaluation, metrics)
                time_left.finish(time.monotonic() - began)
            found = read_robustness(run.work_dir)
            assert found is not None, 'written above'
            evaluated.append((str(run.work_dir), found))
            report(console, *evaluated[-1], plan)

    if count and not in_terminal:
        lines.end()
    if len(runs) > 1:
        cells = cells_of(plan)
        for metric in dict.fromkeys(metric for _, robustness in evaluated for metric in robustness.metric_names()):
            console.print()
            console.print(summary_table(evaluated, metric, cells, domains_of(plan)).terminal(metric_title(metric)))
        if cells:
            console.print(f'mPC and rPC are {describe(cells)}', soft_wrap=True)
