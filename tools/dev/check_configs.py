"""Check F-Noise on every config of the installed mmdet, and write a table."""

import _start

import argparse
import gc
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mmdet
import torch
from compatibility import Finding, Outcome, PlaceOutcome, check_config, shipped_configs

from fnoise_mmdet.cli import options
from fnoise_mmdet.cli.parser import ArgumentParser
from fnoise_mmdet.commands import output
from fnoise_mmdet.comparison.numbers import number
from fnoise_mmdet.comparison.table import Table
from fnoise_mmdet.datasets.files import write_atomically
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.version import __version__

VERSIONS = dict(mmdet=mmdet.__version__, torch=torch.__version__, fnoise_mmdet=__version__)


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Check F-Noise on every config of the installed mmdet: insert it, compare state dict keys and '
        'evaluation features to the plain detector, and measure the noise in training.',
        examples=[
            '--only "retinanet/*" --only "yolo/*"',
        ],
    )
    parser.add_argument('--out', default='work_dirs/check_configs', help='folder for findings.jsonl and table.md')
    parser.add_argument('--only', action='append', metavar='PATTERN', help='configs to check, e.g. "retinanet/*"')
    parser.add_argument('--workers', type=options.at_least(1), default=1, help='processes, of one thread each')
    parser.add_argument('--restart', action='store_true', help='check all configs again, not only missing ones')
    return parser.parse_args()


def read_findings(path: Path) -> dict[str, Finding | None]:
    """Read findings of an earlier, possibly interrupted call with these versions; None for a file without a model."""
    findings: dict[str, Finding | None] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # truncated by an interruption
            continue
        if not isinstance(row, dict) or row.get('versions') != VERSIONS:
            continue
        config, finding = row['config'], row['finding']
        findings[config] = None if finding is None else _finding(finding)
    return findings


def _finding(row: dict[str, Any]) -> Finding:
    places = {place: PlaceOutcome(outcome) for place, outcome in row['places'].items()}
    return Finding(**{**row, 'outcome': Outcome(row['outcome']), 'places': places})


def find_out(names: list[str], workers: int) -> Iterator[tuple[str, Finding | None]]:
    """Check configs in separate processes, and yield findings as they complete."""
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(_check_config, name): name for name in names}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise InputError(
                'a process was killed, probably for lack of memory: rerun the same command, which checks the missing '
                'configs, with --workers 1'
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _check_config(name: str) -> Finding | None:
    finding = check_config(name)
    gc.collect()  # detectors with hooks are reference cycles, which would fill the memory
    return finding


MEANINGS = {
    Outcome.WHOLE: 'built with and without F-Noise: the same keys in the state dict, strict loading both ways, the '
    'same features in evaluation to the last bit, and in training the signal-to-noise ratio of F-Noise at every level',
    Outcome.PARTS: 'the same for backbone and neck; the rest of the plain detector cannot be built here',
    Outcome.REFUSED: 'a clear error instead of F-Noise',
    Outcome.UNBUILDABLE: 'the plain config cannot be read, or its backbone and neck cannot run, here',
    Outcome.FAILED: 'F-Noise breaks one of its promises',
}


PLACE_MEANINGS = {
    PlaceOutcome.CHECKED: 'the same keys, strict loading both ways, the same features in evaluation, and in a '
    'prediction with noise the ratio of F-Noise at every module of the place',
    PlaceOutcome.ABSENT: 'a clear error',
    PlaceOutcome.UNRUNNABLE: 'the plain detector cannot predict from images alone here, or finds no region',
    PlaceOutcome.FAILED: 'F-Noise breaks one of its promises',
}


def table(findings: Iterable[Finding]) -> str:
    """Write the findings as Markdown: counts, one line per family, and reasons for incomplete checks."""
    findings = list(findings)
    counts = Counter(finding.outcome for finding in findings)
    families = sorted({finding.family for finding in findings})
    outcomes = [[outcome.value, str(counts[outcome]), MEANINGS[outcome]] for outcome in Outcome]
    rows = []
    for family in families:
        members = [finding for finding in findings if finding.family == family]
        ratios = [ratio for finding in members for ratio in finding.snr_db]
        rows.append(
            [
                family,
                str(len(members)),
                *(str(sum(finding.outcome is outcome for finding in members) or '') for outcome in Outcome),
                '; '.join(sorted({finding.neck or 'none' for finding in members})),
                f'{number(min(ratios), 1)} to {number(max(ratios), 1)}' if ratios else '',
            ]
        )
    places = sorted({place for finding in findings for place in finding.places})
    by_place = Counter((place, outcome) for finding in findings for place, outcome in finding.places.items())
    in_places = [
        [outcome.value, *(str(by_place[place, outcome]) for place in places), meaning]
        for outcome, meaning in PLACE_MEANINGS.items()
    ]
    broken = [[finding.place_reason, finding.config] for finding in findings if finding.place_reason]
    reasons: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.outcome is not Outcome.WHOLE:
            reasons.setdefault((finding.outcome.value, finding.reason), []).append(finding.config)
    causes = [[*reason, ', '.join(configs)] for reason, configs in sorted(reasons.items())]
    heads = ['family', 'configs', *(outcome.value for outcome in Outcome), 'necks', 'ratio of the levels, dB']
    return '\n\n'.join(
        [
            '# F-Noise in the configs that mmdet ships',
            f'What `tools/dev/check_configs.py` found with mmdet {mmdet.__version__} and torch {torch.__version__}, '
            f'without a GPU: {len(findings)} configs with a model in {len(families)} families.',
            Table.of(['outcome', 'configs', 'meaning'], outcomes, numeric=1).markdown(),
            '## Noise inside whole detectors',
            Table.of(['outcome', *places, 'meaning'], in_places, numeric=len(places)).markdown(),
            *([Table.of(['failure', 'config'], broken, numeric=0).markdown()] if broken else []),
            '## Families',
            Table.of(heads, rows, numeric=1 + len(Outcome)).markdown(),
            '## Why a config was not checked as a whole',
            Table.of(['outcome', 'reason', 'configs'], causes, numeric=0).markdown() + '\n',
        ]
    )


def main() -> None:
    args = parse_args()
    names = [name for name in shipped_configs() if not args.only or any(Path(name).match(one) for one in args.only)]
    if not names:
        raise InputError(f'no config that mmdet ships matches {" or ".join(args.only)}')
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / 'findings.jsonl'
    if args.restart:
        path.unlink(missing_ok=True)
    findings = read_findings(path)
    missing = [name for name in names if name not in findings]
    with path.open('a') as file:
        if file.tell() and not path.read_bytes().endswith(b'\n'):  # interrupted in the middle of a line
            file.write('\n')
        for name, finding in output.show_progress(find_out(missing, args.workers), 'checking', len(missing)):
            file.write(json.dumps(dict(config=name, versions=VERSIONS, finding=finding and asdict(finding))) + '\n')
            file.flush()
            findings[name] = finding
    checked = [finding for name in names if (finding := findings[name]) is not None]
    write_atomically(out / 'table.md', table(checked).encode())
    counts = Counter(finding.outcome for finding in checked)
    print(', '.join(f'{outcome.value}: {counts[outcome]}' for outcome in Outcome))
    print(f'table: {out / "table.md"}')
    failed = [one for one in checked if one.outcome is Outcome.FAILED or PlaceOutcome.FAILED in one.places.values()]
    for finding in failed:
        print(f'FAILED {finding.config}: {finding.reason or finding.place_reason}')
    if failed:
        raise SystemExit(1)


if __name__ == '__main__':
    _start.run(main)
