"""What a study costs: steps, GPU hours, storage, network. Arithmetic alone, on figures that say where they are from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..visualization import markup

MEASURED, PUBLISHED, CONFIG = 'measured', 'published', 'config'
GIVEN, COMPUTED, ASSUMED = 'given', 'computed', 'assumed'

# Forward and backward pass against the forward pass alone: the backward pass computes two gradients for each product.
LOSS_SHARE = 1 / 3
RING = 'nccl-tests'  # by whose formula each process sends in an all-reduce
COMMUNICATION_SHARE = 0.1  # of a step that the exchange of gradients may take
# Left in a work dir for each validation image: up to 100 detections, each in two files.
DETECTION_BYTES = 100 * 1000

_UNITS = {
    's': ((1.0, 's'), (1e-3, 'ms')),
    'B': ((1e12, 'TB'), (1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB')),
    'B/s': ((1e9, 'GB/s'), (1e6, 'MB/s'), (1e3, 'kB/s')),
}


@dataclass(frozen=True)
class Estimate:
    """A number, and where it comes from.

    Args:
        value: The number.
        unit: ``'s'``, ``'B'`` (bytes, decimal), ``'B/s'``, ``'h'``, or nothing for what is counted.
        kind: ``measured``, ``published``, ``config``, ``given`` on the command line, ``computed`` or ``assumed``.
        source: Which file, publication, setting or formula, or why it is assumed.
    """

    value: float
    unit: str
    kind: str
    source: str

    def __str__(self) -> str:
        if self.unit == 'h':
            return f'{self.value:,.1f} h'
        if self.unit not in _UNITS:
            return f'{self.value:,.0f}'
        sizes = _UNITS[self.unit]
        size, name = next((one for one in sizes if self.value >= one[0]), sizes[-1])
        text = f'{self.value / size:.3g} {name}'
        return f'{text} ({self.value * 8 / 1e9:.3g} Gbit/s)' if self.unit == 'B/s' and self.value >= 1e8 else text


@dataclass(frozen=True)
class Study:
    """What the cost of a study depends on.

    Args:
        scales: Strengths of the noise, a condition each; 0 is the baseline.
        seeds: Trainings of each condition.
        train_images: Images of an epoch.
        length: Epochs of a training, or its iterations.
        by_epoch: Whether it is epochs.
        batch: Images that a process takes in one pass.
        step_images: Images of a step, those of all processes: what the learning rate is meant for.
        step_seconds: Seconds of a pass of one process, backward pass and optimizer included.
        validations: Of a training.
        val_images: Images of a validation.
        val_seconds: Seconds to detect on one image.
        metric_seconds: Seconds an image for COCO's metrics, in which the GPUs wait.
        gradient_bytes: Of one step's gradients.
        checkpoint_bytes: Of one checkpoint, with the state of the optimizer.
        checkpoints: That a training keeps.
        data_bytes: Of the data set, or None where it is not known.
    """

    scales: Sequence[float]
    seeds: int
    train_images: Estimate
    length: Estimate
    by_epoch: bool
    batch: Estimate
    step_images: Estimate
    step_seconds: Estimate
    validations: Estimate
    val_images: Estimate
    val_seconds: Estimate
    metric_seconds: Estimate
    gradient_bytes: Estimate
    checkpoint_bytes: Estimate
    checkpoints: Estimate
    data_bytes: Estimate | None

    @property
    def trainings(self) -> int:
        """The number of trainings."""
        return len(self.scales) * self.seeds

    @property
    def processes(self) -> int:
        """GPUs of a training in which each takes one pass a step."""
        return round(self.step_images.value / self.batch.value)

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch: the images are dealt out to the processes, and each makes batches of its own."""
        return math.ceil(math.ceil(self.train_images.value / self.processes) / self.batch.value)

    @property
    def steps(self) -> int:
        """Steps of a training."""
        return int(self.length.value) * (self.epoch_steps if self.by_epoch else 1)

    @property
    def train_hours(self) -> float:
        """GPU hours that a training trains, validations apart."""
        return self.steps * self.processes * self.step_seconds.value / 3600

    @property
    def val_hours(self) -> float:
        """GPU hours that a training detects and computes losses on the validation set."""
        loss = LOSS_SHARE * self.step_seconds.value / self.batch.value
        return self.validations.value * self.val_images.value * (self.val_seconds.value + loss) / 3600

    @property
    def metric_hours(self) -> float:
        """Hours that a training waits for COCO's metrics, on however many GPUs."""
        return self.validations.value * self.val_images.value * self.metric_seconds.value / 3600

    def hours(self, gpus: int) -> float:
        """Return the hours of one training on so many GPUs, if the work divides evenly among them."""
        return (self.train_hours + self.val_hours) / gpus + self.metric_hours

    def exchanged(self, gpus: int) -> float:
        """Return the bytes that each of so many GPUs sends in a step: gradients all-reduced in a ring."""
        return 2 * (gpus - 1) / gpus * self.gradient_bytes.value


@dataclass(frozen=True)
class Schedule:
    """A way to run the trainings of a study on so many GPUs.

    Args:
        gpus: That there are.
        each: That a training takes.
        at_once: Trainings side by side.
        waves: How often that many are run.
        hours: Of one training.
        days: From the first step to the last.
        busy_hours: GPU hours in which a training runs.
        reserved_hours: GPU hours until the end, of all GPUs.
    """

    gpus: int
    each: int
    at_once: int
    waves: int
    hours: float
    days: float
    busy_hours: float
    reserved_hours: float


def plans(study: Study, gpus: Sequence[int]) -> list[Schedule]:
    """Schedule a study on each number of GPUs: a training a GPU, and as many GPUs a training as the config means.

    Where there are fewer than the config means, only one GPU a training is planned.
    """
    found = []
    for count in sorted(set(gpus)):
        for each in sorted({1, study.processes}):
            if each > count:
                continue
            at_once = min(count // each, study.trainings)
            waves = math.ceil(study.trainings / at_once)
            hours = study.hours(each)
            found.append(
                Schedule(
                    gpus=count,
                    each=each,
                    at_once=at_once,
                    waves=waves,
                    hours=hours,
                    days=waves * hours / 24,
                    busy_hours=study.trainings * each * hours,
                    reserved_hours=waves * count * hours,
                )
            )
    return found


def figures(study: Study, gpus: Sequence[int]) -> dict[str, dict[str, Estimate]]:
    """Return everything that the plans rest on, and what they need besides GPUs, by subject and name."""
    baseline = 'with' if 0 in study.scales else 'without'
    scales = ', '.join(f'{scale:g}' for scale in study.scales)
    work = {
        'trainings': Estimate(
            study.trainings,
            '',
            COMPUTED,
            f'{len(study.scales)} scales ({scales}; {baseline} the baseline, scale 0) x {study.seeds} seeds',
        ),
        'images of an epoch': study.train_images,
        f'{"epochs" if study.by_epoch else "iterations"} of a training': study.length,
        'images of a pass of one GPU': study.batch,
        'images of a step': study.step_images,
        'steps of a training': Estimate(study.steps, '', COMPUTED, _steps_formula(study)),
        'steps of the study': Estimate(study.steps * study.trainings, '', COMPUTED, 'steps x trainings'),
        'validations of a training': study.validations,
        'images of a validation': study.val_images,
    }
    time = {
        'pass of one GPU': study.step_seconds,
        'detection, a validation image': study.val_seconds,
        'losses, a validation image': Estimate(
            LOSS_SHARE * study.step_seconds.value / study.batch.value,
            's',
            ASSUMED,
            "ValidationLossHook, a third of training's: the backward pass is two of three parts",
        ),
        "COCO's metrics, a validation image": study.metric_seconds,
        'training, GPU hours a training': Estimate(
            study.train_hours, 'h', COMPUTED, f'steps x {study.processes} passes x time of a pass'
        ),
        'validation, GPU hours a training': Estimate(
            study.val_hours, 'h', COMPUTED, 'validations x images x (detection + losses)'
        ),
        'waiting for metrics, hours a training': Estimate(
            study.metric_hours, 'h', COMPUTED, 'validations x images x metrics, one core'
        ),
    }
    return {
        'work': work,
        'time': time,
        'storage': dict(_storage(study)),
        'network': dict(_network(study, max(gpus))),
    }


def _steps_formula(study: Study) -> str:
    if not study.by_epoch:
        return 'its iterations'
    return f'epochs x {study.epoch_steps:,} = images / {study.processes} GPUs / images of a pass, both rounded up'


def _storage(study: Study) -> Iterator[tuple[str, Estimate]]:
    if study.data_bytes:
        yield 'data set', study.data_bytes
    yield 'checkpoint', study.checkpoint_bytes
    yield 'checkpoints that a training keeps', study.checkpoints
    one = study.trainings * study.checkpoint_bytes.value
    checkpoints = one * study.checkpoints.value
    yield 'checkpoints of the study', Estimate(checkpoints, 'B', COMPUTED, 'checkpoint x kept x trainings')
    if study.checkpoints.value > 1:
        yield (
            'checkpoints of the study, only the last of each training',
            Estimate(one, 'B', COMPUTED, 'with default_hooks.checkpoint.max_keep_ckpts=1'),
        )
    records = study.val_images.value * DETECTION_BYTES
    yield (
        'detections and logs of a training',
        Estimate(records, 'B', ASSUMED, 'at most: 100 detections a validation image, 1 kB each (0.66 kB in the demo)'),
    )
    total = (study.data_bytes.value if study.data_bytes else 0) + checkpoints + records * study.trainings
    parts = 'data set + checkpoints + detections' if study.data_bytes else 'checkpoints + detections, data set apart'
    yield 'all of it', Estimate(total, 'B', COMPUTED, parts)


def _network(study: Study, most: int) -> Iterator[tuple[str, Estimate]]:
    if study.data_bytes:
        yield 'download, once', study.data_bytes
        epoch = study.epoch_steps * study.processes * study.step_seconds.value
        rate = study.data_bytes.value / epoch
        yield 'images read, a GPU', Estimate(rate, 'B/s', COMPUTED, 'data set / GPU seconds of an epoch')
        yield f'images read, {most} GPUs', Estimate(rate * most, 'B/s', COMPUTED, 'what a GPU reads x GPUs')
    if study.processes == 1:
        return
    yield 'gradients of a step', study.gradient_bytes
    spans = [study.processes] + [most] * (most > study.processes)
    for gpus in spans:
        sent = study.exchanged(gpus)
        images = gpus * study.batch.value
        planned = '' if gpus == study.processes else f'; {images:.0f} images a step, not planned here'
        yield (
            f'sent by each of {gpus} GPUs a step',
            Estimate(sent, 'B', COMPUTED, f'2 (N - 1) / N x gradients ({RING}), N = {gpus}{planned}'),
        )
        yield (
            f'bandwidth needed by each of {gpus} GPUs',
            Estimate(
                sent / (COMMUNICATION_SHARE * study.step_seconds.value),
                'B/s',
                COMPUTED,
                f'for all of it to take {COMMUNICATION_SHARE:.0%} of a step: of each GPU within a node, of the link of '
                'each node between nodes',
            ),
        )
    yield (
        f'sent by each of {study.processes} GPUs in a training',
        Estimate(study.steps * study.exchanged(study.processes), 'B', COMPUTED, 'sent a step x steps of a training'),
    )


def assumptions(study: Study) -> list[str]:
    """Say what the figures take for granted."""
    found = [
        'F-Noise adds nothing to a step, unless the time of a step was measured with it: what it added where that was '
        'measured, a millisecond on one GPU, is in docs/performance.md.',
        'The data loader keeps up, the disk too. No training is repeated.',
    ]
    if study.data_bytes:
        found.append('Unpacked images are as large as their archives; until these are removed, both are there.')
    if study.processes > 1:
        passes = study.processes
        found += [
            f'A training has {study.step_images.value:.0f} images a step either way, and keeps the learning rate. On '
            f'one GPU it accumulates {passes} passes (optim_wrapper.accumulative_counts={passes}; a warm-up counted in '
            f'iterations is {passes} times as long), and a pass takes as long as beside the others. The linear rule '
            'instead (auto_scale_lr.enable=True) makes it another training.',
            f'On {passes} GPUs the exchange of gradients is in the time of a pass where that was taken on as many, '
            'else it hides behind the backward pass.',
        ]
    return found


def as_json(study: Study, gpus: Sequence[int]) -> dict[str, Any]:
    """Return figures, plans and assumptions as what JSON can hold; numbers are in the units named."""
    return dict(
        figures={
            subject: {name: asdict(one) for name, one in rows.items()} for subject, rows in figures(study, gpus).items()
        },
        plans=[asdict(plan) for plan in plans(study, gpus)],
        assumptions=assumptions(study),
    )


PLAN_HEADS = ('GPUs', 'a training', 'at once', 'waves', 'hours of one', 'days', 'GPU hours', 'reserved')
PLAN_NOTE = (
    'All computed: waves = trainings / at once, rounded up; days = waves x hours of a training; '
    'GPU hours are those in which a training runs, reserved those of all GPUs until the end.'
)


def plan_row(plan: Schedule) -> tuple[str, ...]:
    """Return the cells of a plan under :data:`PLAN_HEADS`."""
    return (
        f'{plan.gpus}',
        f'{plan.each} GPU{"s" * (plan.each > 1)}',
        f'{plan.at_once}',
        f'{plan.waves}',
        f'{plan.hours:.1f}',
        f'{plan.days:.1f}',
        f'{plan.busy_hours:,.0f}',
        f'{plan.reserved_hours:,.0f}',
    )


def cost_tables(study: Study, gpus: Sequence[int], sources: Mapping[str, str]) -> str:
    """Return figures, plans, assumptions and the sources that are cited, as Markdown.

    Args:
        study: What is planned.
        gpus: Numbers of GPUs to plan for.
        sources: Addresses by the name that figures cite them with.
    """
    lines = [f'| {" | ".join(PLAN_HEADS)} |', f'|{"---:|" * len(PLAN_HEADS)}']
    lines += [f'| {" | ".join(plan_row(plan))} |' for plan in plans(study, gpus)]
    lines += ['', PLAN_NOTE, '', '| figure | value | kind | from |', '|---|---:|---|---|']
    for subject, rows in figures(study, gpus).items():
        lines.append(f'| **{subject}** | | | |')
        lines += [
            f'| {name} | {one} | {one.kind} | {markup.escape_markdown(one.source)} |' for name, one in rows.items()
        ]
    lines += ['', 'Assumed:', '', *(f'- {text}' for text in assumptions(study))]
    cited = cited_sources(study, gpus, sources)
    lines += ['', 'Sources:', '', *(f'- {name}: {address}' for name, address in cited.items())] if cited else []
    return '\n'.join(lines)


def cited_sources(study: Study, gpus: Sequence[int], sources: Mapping[str, str]) -> dict[str, str]:
    """Return those of the sources that a figure cites by name."""
    texts = [one.source for rows in figures(study, gpus).values() for one in rows.values()]
    return {name: address for name, address in sources.items() if any(name in text for text in texts)}
