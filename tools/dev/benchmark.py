"""Benchmark the overhead of noise: the operation, a training step, and evaluation."""

import _start

import argparse
import contextlib
import copy
import itertools
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from timing import (
    Timing,
    gpu_clock,
    interleave,
    kept_bytes,
    summarize,
    wall_clock,
    warn_if_busy,
    write_results,
)
from torch import Tensor, nn

from benchmarks import benchmark_table, pyramid_figure, ratio_cells
from fnoise_mmdet.cli import options
from fnoise_mmdet.cli.parser import ArgumentParser
from fnoise_mmdet.commands import output
from fnoise_mmdet.commands.compare import write_figure
from fnoise_mmdet.comparison import read_run
from fnoise_mmdet.comparison.numbers import number, quantity
from fnoise_mmdet.comparison.table import Table
from fnoise_mmdet.config import (
    NOISE_CONFIGS,
    add_fnoise,
    load_config,
    remove_pretrained,
    train_from_scratch,
    use_data_root,
)
from fnoise_mmdet.datasets.files import check_writable
from fnoise_mmdet.engine.mixed_precision import computes_in_bfloat16, use_amp
from fnoise_mmdet.engine.preflight import check_data, check_device, check_device_option, check_model
from fnoise_mmdet.engine.preview import initialise
from fnoise_mmdet.engine.torchvision_operators import has_operators
from fnoise_mmdet.errors import InputError, RunError
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.noise import NOISES, FeatureNoise, Noise

CHANNELS = (256, 512, 1024, 2048)  # C2 to C5 of a ResNet-50
STRIDES = (4, 8, 16, 32)
DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
QUICK_ROUNDS = 3
QUICK = dict(peer='2 rounds, images of half the size', demo='an epoch of few images')
MARK = '<!-- benchmarks -->'
TOOLS = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Measure the overhead of noise: all subjects in one process, alternating within each round. The '
        'table gives the median time, the median of the ratios to the reference within a round with the half-width of '
        'the 95 percent confidence interval, and the quartiles of the ratios; --out writes them as JSON, with machine '
        'and versions.',
        examples=[
            'noise --quick',
            'step configs/demo_baseline.py --out benchmarks/step.json',
        ],
    )
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='{noise,sizes,pyramids,step,eval,peer,demo,table}'
    )
    helps = dict(
        noise="forward and backward pass of F-Noise, related noises and dropout, against a copy of C2 to C5",
        sizes='time per element of F-Noise and of a copy, for increasing numbers of elements',
        pyramids='a pass over 1 to 8 levels, over 1 to 64 images, and inserting F-Noise into a config',
        step='a training step of a config with each noise, against one without noise',
        eval='evaluation of a config with F-Noise, against one without: time, and number of operations',
        peer="a training step of configs/baseline.py and configs/fnoise.py from random weights, against torchvision's "
        'Mask R-CNN with the same settings on the same images',
        demo='`make demo` in an empty folder: two trainings, evaluation, figures, report and detections',
    )  # fmt: skip
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
        if name in ('step', 'eval'):
            command.add_argument('config', nargs='?', default='configs/demo_baseline.py', help='config without noise')
            command.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
        if name in ('step', 'eval', 'peer'):
            command.add_argument('--data-root', help="folder in COCO layout that replaces the config's data root")
        if name == 'step':
            command.add_argument(
                '--noises',
                nargs='+',
                default=list(NOISE_CONFIGS),
                metavar='NOISE[@PLACE[:LEVELS]]',
                help='noises, as of --fnoise of tools/train.py (default: all, where they were published)',
            )
            command.add_argument('--batch-size', type=options.at_least(1), help="batch size (default: the config's)")
            options.add_amp_argument(command)
        if name == 'peer':
            command.add_argument(
                '--peer-python', help='Python of an environment with torchvision, if it is not installed here'
            )
        if name in ('noise', 'peer'):
            command.add_argument(
                '--size',
                nargs=2,
                type=options.at_least(32),
                default=[512, 320],
                help='width and height of the images in pixels',
            )
            command.add_argument('--batch-size', type=options.at_least(1), default=2, help='images')
        if name == 'noise':
            command.add_argument('--channels-last', action='store_true', help='use the channels_last memory format')
        if name in ('noise', 'sizes', 'pyramids'):
            command.add_argument('--dtype', choices=DTYPES, default='float32', help='dtype of the features')
        rounds = 10 if name == 'peer' else 30
        command.add_argument('--quick', action='store_true', help=QUICK.get(name, f'{QUICK_ROUNDS} rounds'))
        command.add_argument('--out', type=Path, help='JSON file to write')
        if name != 'demo':
            command.add_argument('--rounds', type=options.at_least(2), default=rounds, help='number of timed rounds')
            command.add_argument(
                '--threads', type=options.at_least(1), help="number of torch threads (default: torch's)"
            )
            command.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='device')
    command = commands.add_parser('table', help='print the results of the other commands as Markdown')
    command.add_argument('folder', nargs='?', type=Path, default=Path('benchmarks'), help='folder of JSON files')
    command.add_argument(
        '--into', type=Path, metavar='FILE', help=f'insert the table between the two lines {MARK!r} of a file instead'
    )
    command.add_argument('--figure', type=Path, metavar='FILE.png', help='draw the results of pyramids.json')
    args = parser.parse_args()
    if args.command not in ('demo', 'table') and args.quick:
        args.rounds = QUICK_ROUNDS
        if args.command == 'peer':
            args.rounds = 2
            args.size = [length // 2 for length in args.size]
    return args


def cct(x: Tensor) -> Tensor:
    """Perturb as in the code of the paper (arXiv 2003.09005): x n + x, n drawn on the CPU."""
    n = torch.distributions.Uniform(-0.3, 0.3).sample(x.shape[1:]).to(x).unsqueeze(0)
    return x.mul(n) + x


Pyramid = Sequence[Tensor]


def noises_to_time() -> dict[str, Callable[[Pyramid], Pyramid]]:
    """Return functions that perturb the levels of a pyramid, by name; the copy is the reference."""
    keys = [(0, 0, 0, 0, level) for level in range(len(CHANNELS))]
    presets = {name: FeatureNoise(name) for name in ('cct', 'uniform_20', 'l2', 'mean_normal')}
    others = {noise.__name__: noise() for noise in NOISES if noise is not FeatureNoise}
    subjects: dict[str, Callable[[Pyramid], Pyramid]] = {'copy, x * 1.0': lambda xs: [x * 1.0 for x in xs]}
    for name, noise in (presets | others).items():
        subjects[name] = lambda xs, noise=noise: noise.perturb_levels(xs, keys)
    simple = partial(Noise.perturb, presets['cct'])
    subjects['cct, eager (plain PyTorch)'] = lambda xs: [simple(x, key) for x, key in zip(xs, keys)]
    subjects['cct, code of the paper'] = lambda xs: [cct(x) for x in xs]
    subjects['torch.nn.functional.dropout'] = lambda xs: [nn.functional.dropout(x, 0.3) for x in xs]
    return subjects


def both_passes(perturb: Callable[[Pyramid], Pyramid], features: Pyramid, gradients: Pyramid) -> None:
    """Run the forward and the backward pass."""
    for x in features:
        x.grad = None
    torch.autograd.backward(perturb(features), gradients)


def time_noise(args: argparse.Namespace) -> dict[str, Any]:
    """Time the forward and the backward pass of a whole pyramid of features."""
    width, height = args.size
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    features, gradients = [], []
    for channels, stride in zip(CHANNELS, STRIDES):
        x = torch.randn(args.batch_size, channels, height // stride, width // stride, device=args.device).relu()
        x = x.to(DTYPES[args.dtype]).contiguous(memory_format=memory_format)
        features.append(x.requires_grad_())
        gradients.append(torch.randn_like(x))

    subjects = noises_to_time()
    found = measure({name: partial(both_passes, one, features, gradients) for name, one in subjects.items()}, args)
    kept = {name: kept_bytes(partial(perturb, features), features) for name, perturb in subjects.items()}
    print_timings(
        f'C2 to C5 of {args.batch_size} images of {width} x {height}, {args.dtype}, {args.device}', found, kept
    )
    return {name: vars(timing) | dict(kept_bytes=kept[name]) for name, timing in found.items()}


def time_sizes(args: argparse.Namespace) -> dict[str, Any]:
    """Time F-Noise per element, for up to 300 million elements, or fewer with --quick."""
    rows, results = [], {}
    noise = FeatureNoise()
    for millions in (0.1, 1, 10) if args.quick else (0.1, 0.3, 1, 3, 10, 30, 100, 300):
        side = round((millions * 1e6 / 2 / 256) ** 0.5)
        x = torch.randn(2, 256, side, side, device=args.device, dtype=DTYPES[args.dtype]).requires_grad_()
        gradient = torch.randn_like(x)

        def run(perturb: Callable[[Tensor], Tensor], x: Tensor = x, gradient: Tensor = gradient) -> None:
            x.grad = None
            perturb(x).backward(gradient)

        subjects = {'copy': partial(run, lambda x: x * 1.0), 'F-Noise': partial(run, partial(noise, key=(0, 0)))}
        found = measure(subjects, args, 'copy')
        per_element = (quantity(found[name].median / x.numel(), 's') for name in ('F-Noise', 'copy'))
        rows.append([f'{x.numel():,}', *per_element, number(found['F-Noise'].ratio, 2)])
        results[str(x.numel())] = {name: vars(timing) for name, timing in found.items()}
    heads = ['elements', 'F-Noise, per element', 'copy, per element', 'ratio']
    output.terminal().print(Table.of(heads, rows).terminal('forward and backward pass of one level'))
    return results


FINEST = 80, 128  # rows and columns of the first level of 512 x 320 pixels


def time_pyramids(args: argparse.Namespace) -> dict[str, Any]:
    """Time F-Noise against a copy on 256 channels of 1 to 8 levels, and of 4 levels of 1 to 64 images."""
    noise = FeatureNoise()
    shapes = [*((levels, 2) for levels in range(1, 9)), *((4, images) for images in (1, 4, 8, 16, 32, 64))]
    if args.quick:
        shapes = [(1, 2), (2, 2), (4, 1)]
    timings = {}
    for levels, images in shapes:
        name = f'{levels} level{"s" * (levels > 1)}, {images} image{"s" * (images > 1)}'
        sides = [[-(-side // 2**level) for side in FINEST] for level in range(levels)]
        dtype = DTYPES[args.dtype]
        xs = [torch.randn(images, 256, *side, device=args.device, dtype=dtype).requires_grad_() for side in sides]
        gradients = [torch.randn_like(x) for x in xs]
        keys = [(0, level) for level in range(levels)]

        subjects = {
            'copy': partial(both_passes, lambda xs: [x * 1.0 for x in xs], xs, gradients),
            'F-Noise': partial(both_passes, partial(noise.perturb_levels, keys=keys), xs, gradients),
        }
        timings[name] = measure(subjects, args)
    cfg = load_config('configs/baseline.py')
    subjects = {'copy of the config': lambda: copy.deepcopy(cfg), 'add_fnoise': lambda: add_fnoise(copy.deepcopy(cfg))}
    timings['add_fnoise'] = measure(subjects, args)
    rows = []
    for name, found in timings.items():
        copied, noisy = found.values()
        rows.append([name, quantity(noisy.median, 's'), quantity(copied.median, 's'), number(noisy.ratio, 2)])
    output.terminal().print(Table.of(['', 'F-Noise', 'copy', 'ratio'], rows).terminal('forward and backward pass'))
    return {name: {one: vars(timing) for one, timing in found.items()} for name, found in timings.items()}


def read(config: str, args: argparse.Namespace, fnoise: str | None = None) -> Config:
    """Load a config without pretrained weights."""
    cfg = load_config(config, getattr(args, 'cfg_options', None), fnoise)
    use_data_root(cfg, args.data_root, required=('train', 'val'))
    remove_pretrained(cfg)
    if getattr(args, 'amp', False):
        use_amp(cfg)
        check_device(cfg)
    return cfg


def build(cfg: Config, device: str) -> nn.Module:
    """Build a model with random weights that do not depend on the noise."""
    torch.manual_seed(0)
    model = check_model(cfg)
    initialise(model)
    return model.to(device)


def batches(cfg: Config, part: str) -> Iterator[Any]:
    """Yield the batches of a data loader endlessly."""
    check_data(cfg, [part])
    loader = copy.deepcopy(cfg[f'{part}_dataloader'])
    loader.update(num_workers=0, persistent_workers=False)
    return itertools.chain.from_iterable(itertools.repeat(Runner.build_dataloader(loader, seed=0)))


def training_step(model: nn.Module, cfg: Config, batches: Sequence[Any]) -> Callable[[], float]:
    """Return a function that trains a model on the next batch, without loading, and returns the loss."""
    optim_wrapper = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    numbers = itertools.count()

    def step() -> float:
        number = next(numbers)
        torch.manual_seed(number)  # for RoI sampling
        batch = copy.deepcopy(batches[number % len(batches)])
        return model.train_step(batch, optim_wrapper)['loss'].item()

    return step


AGAIN = 'baseline, repeated (A/A)'  # its ratio shows the noise of the measurement
# All computations of F-Noise at a scale below the precision of float32, since noise that changes the training also
# changes the work of the heads.
FAINT, FAINT_SCALE = 'overhead only (scale 1e-12)', 1e-12


def time_step(args: argparse.Namespace) -> dict[str, Any]:
    """Time a training step, without loading and with the optimizer."""
    cfg = read(args.config, args)
    args.batch_size = cfg.train_dataloader.batch_size = args.batch_size or cfg.train_dataloader.batch_size
    first = [next(batches(cfg, 'train'))]
    subjects = {}
    for name, noise in {'without noise': None, AGAIN: None, **{name: name for name in args.noises}}.items():
        cfg = read(args.config, args, noise)
        subjects[name] = training_step(build(cfg, args.device), cfg, first)
    if 'cct' in args.noises:
        cfg = read(args.config, args, 'cct')
        model = build(cfg, args.device)
        for layer in find_noise_layers(model):
            layer.noise.scale = FAINT_SCALE
        subjects[FAINT] = training_step(model, cfg, first)
    found = measure(subjects, args)
    print_timings(f'a training step of {args.config}, {args.batch_size} images, {args.device}', found)
    return {name: vars(timing) for name, timing in found.items()}


def time_eval(args: argparse.Namespace) -> dict[str, Any]:
    """Time inference on a batch of validation images, and count the operations."""
    subjects: dict[str, Callable[[], Any]] = {}
    for name, fnoise in {'without F-Noise': None, 'with F-Noise': 'cct'}.items():
        cfg = read(args.config, args, fnoise)
        model, batch = build(cfg, args.device).eval(), next(batches(cfg, 'val'))
        subjects[name] = lambda model=model, batch=batch: model.test_step(copy.deepcopy(batch))
    with torch.no_grad():
        found = measure(subjects, args)
        operations = {name: count_operations(subject) for name, subject in subjects.items()}
    print_timings(f'evaluation of {args.config}, {args.device}', found)
    plain, noisy = operations.values()
    difference = {name: noisy[name] - plain[name] for name in plain | noisy if noisy[name] != plain[name]}
    print(f'operations: {plain.total()} without F-Noise, {noisy.total()} with it; difference: {difference or "none"}')
    counts = {name: count.total() for name, count in operations.items()}
    return {name: vars(timing) | dict(operations=counts[name]) for name, timing in found.items()}


PEER, PEER_AMP = 'torchvision', 'torchvision, mixed precision'
MMCV, AMP = "mmdet with mmcv's RoIAlign", 'with F-Noise, --amp'
SAMPLING_RATIO = 2  # of torchvision's RoIAlign; other RoI settings agree with mmdet's, or are set so


def time_peer(args: argparse.Namespace) -> dict[str, Any]:
    """Time a training step against that of torchvision's Mask R-CNN, and record the losses of both."""
    if not args.peer_python and not has_operators():
        raise InputError(
            'torchvision with operators for this torch is not installed: pass the Python of an environment that has it '
            'with --peer-python, e.g. python3 -m venv peer; peer/bin/pip install torchvision; --peer-python '
            'peer/bin/python'
        )
    configs = {MMCV: 'baseline', 'without F-Noise': 'baseline', 'with F-Noise': 'fnoise', AMP: 'fnoise'}
    peers = {PEER: 'plain', PEER_AMP: 'amp'}
    if not torch.cuda.is_available() and not computes_in_bfloat16():
        del configs[AMP], peers[PEER_AMP]
    cfgs = {}
    for name, config in configs.items():
        cfg = cfgs[name] = read(str(TOOLS.parent / f'configs/{config}.py'), args)
        if name == AMP:
            use_amp(cfg)
        train_from_scratch(cfg)
        for extractor in (cfg.model.roi_head.bbox_roi_extractor, cfg.model.roi_head.mask_roi_extractor):
            extractor.roi_layer.sampling_ratio = SAMPLING_RATIO
            if name == MMCV:
                extractor.type = 'SingleRoIExtractor'
                extractor.pop('channels_last', None)
        cfg.train_dataloader.batch_size = args.batch_size
        resize = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Resize')
        resize.scale = tuple(args.size)
    images = list(itertools.islice(batches(cfg, 'train'), 2 + args.rounds))
    losses: dict[str, list[float]] = {name: [] for name in (*peers, *cfgs)}
    subjects = {name: training_step(build(cfg, args.device), cfg, images) for name, cfg in cfgs.items()}
    with torchvision_step(cfg, images, args) as (peer, versions):
        subjects = {name: partial(peer, kind) for name, kind in peers.items()} | subjects
        recorded = {name: lambda name=name: losses[name].append(subjects[name]()) for name in subjects}
        found = measure(recorded, args)
    width, height = args.size
    print_timings(
        f'a training step, Mask R-CNN R50-FPN, {args.batch_size} images of {width} x {height}, {args.device}', found
    )
    for name, values in losses.items():
        print(f'losses of {name}: {", ".join(f"{value:.3f}" for value in values)}')
    results = {name: vars(timing) | dict(losses=losses[name]) for name, timing in found.items()}
    results[PEER]['versions'] = versions
    return results


@contextlib.contextmanager
def torchvision_step(
    cfg: Config, images: Sequence[Any], args: argparse.Namespace
) -> Iterator[tuple[Callable[[str], float], str]]:
    """Return functions that train torchvision's model on mmdet's batches, and the versions of torch and torchvision.

    There are two models, ``'plain'`` and ``'amp'`` (mixed precision), trained in this process, or in one with another
    Python.
    """
    optimizer = {name: value for name, value in cfg.optim_wrapper.optimizer.items() if name != 'type'}
    inputs = dict(
        batches=[as_torchvision_takes_it(batch, args.device) for batch in images],
        settings=dict(
            model=dict(
                num_classes=cfg.model.roi_head.bbox_head.num_classes + 1,
                rpn_post_nms_top_n_train=cfg.model.train_cfg.rpn_proposal.max_per_img,
                _skip_resize=True,
            ),
            optimizer=optimizer,
            max_norm=cfg.optim_wrapper.clip_grad.max_norm,
        ),
    )
    if not args.peer_python:
        import torchvision_peer

        steps = {name: torchvision_peer.make_step(**inputs, amp=name == 'amp') for name in ('plain', 'amp')}
        yield lambda name: steps[name](), torchvision_peer.VERSIONS
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(inputs, Path(folder, 'inputs.pt'))
        command = [args.peer_python, TOOLS / 'dev/torchvision_peer.py', Path(folder, 'inputs.pt')]
        command += ['--threads', str(torch.get_num_threads())]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        except OSError as error:
            raise InputError(f'--peer-python {args.peer_python} cannot be run: {error}') from None
        with process:
            assert process.stdin and process.stdout
            answer = process.stdout.readline()
            if not answer:
                raise InputError(f'torchvision does not run with --peer-python {args.peer_python}')

            def step(name: str) -> float:
                try:
                    process.stdin.write(f'{name}\n'.encode())
                    return float(process.stdout.readline())
                except (BrokenPipeError, ValueError):
                    raise RunError('the torchvision process has ended; see its output above') from None

            yield step, answer.decode().strip()
            process.stdin.close()


def as_torchvision_takes_it(batch: Any, device: str) -> dict[str, list[Any]]:
    """Convert a batch of mmdet to RGB images in [0, 1], and targets with classes from 1."""
    targets = []
    for sample in batch['data_samples']:
        truth = sample.gt_instances
        masks = truth.masks.to_tensor(torch.uint8, device)
        targets.append(dict(boxes=truth.bboxes.tensor.to(device), labels=truth.labels.to(device) + 1, masks=masks))
    return dict(images=[image.flip(0).to(device) / 255 for image in batch['inputs']], targets=targets)


def time_demo(args: argparse.Namespace) -> dict[str, Any]:
    """Time `make demo`, without set-up and data, and record the AP of its detectors."""
    few = 'train_cfg.max_epochs=1 train_dataloader.dataset.indices=32'
    with tempfile.TemporaryDirectory() as folder:
        command = ['make', 'demo', f'OUT={folder}', *([f'DEMO=--cfg-options {few}'] if args.quick else [])]
        subprocess.run(['make', 'data/shapes'], cwd=TOOLS.parent, check=True)
        start = time.perf_counter()
        if subprocess.run(command, cwd=TOOLS.parent).returncode:
            raise RunError('make demo failed')
        seconds = time.perf_counter() - start
        runs = {name: read_run(Path(folder, 'demo', name, 'seed_0')) for name in ('baseline', 'fnoise')}
    mask_ap50 = {name: run.val[-1]['coco/segm_mAP_50'] for name, run in runs.items()}
    print(
        f'make demo: {seconds:.0f} s, mask AP50 {mask_ap50["baseline"]:.3f} and {mask_ap50["fnoise"]:.3f} with F-Noise'
    )
    return {'make demo': dict(seconds=seconds, mask_ap50=mask_ap50)}


def count_operations(subject: Callable[[], Any]) -> Counter[str]:
    """Count torch operations by name."""
    with torch.profiler.profile() as profile:
        subject()
    return Counter(event.name for event in profile.events() if event.name.startswith('aten::'))


def measure(
    subjects: Mapping[str, Callable[[], Any]], args: argparse.Namespace, reference: str | None = None
) -> dict[str, Timing]:
    """Time subjects against the first one."""
    in_its_queue = args.command in ('noise', 'sizes', 'pyramids') and args.device.startswith('cuda')
    times = interleave(subjects, args.rounds, progress=show_rounds, clock=gpu_clock if in_its_queue else wall_clock)
    return summarize(times, reference or next(iter(subjects)))


def show_rounds(rounds: range, label: str) -> Iterable[int]:
    """Show the progress of the rounds in a terminal."""
    return output.show_progress(rounds, label, len(rounds))


def print_timings(title: str, found: Mapping[str, Timing], kept: Mapping[str, int] | None = None) -> None:
    """Print the timings as a table."""
    heads = ['', 'median', 'ratio', 'quartiles of the ratio', *(['saved for backward'] if kept else [])]
    rows = [
        [
            name,
            quantity(timing.median, 's'),
            *ratio_cells(**vars(timing)),
            *([f'{kept[name] / 2**20:.1f} MiB'] if kept else []),
        ]
        for name, timing in found.items()
    ]
    output.terminal().print(Table.of(heads, rows).terminal(title))


def put_table(args: argparse.Namespace) -> None:
    """Print the table, or insert it into a file, and draw the figure."""
    table = benchmark_table(args.folder)
    if args.into:
        output.put_between(args.into, MARK, table)
    else:
        print(table)
    if args.figure:
        write_figure(args.figure, pyramid_figure(args.folder / 'pyramids.json'))


def use_device(args: argparse.Namespace) -> None:
    """Set the number of threads, and check the device."""
    if args.threads:
        torch.set_num_threads(args.threads)
    check_device_option(args.device)


def main() -> None:
    args = parse_args()
    if args.command == 'table':
        put_table(args)
        return
    MMLogger.get_current_instance().setLevel('ERROR')
    MessageHub.get_current_instance().update_info('seed', 0)
    if args.command != 'demo':
        use_device(args)
    if args.out:
        check_writable(args.out.parent)
    warn_if_busy()
    commands = dict(
        noise=time_noise,
        sizes=time_sizes,
        pyramids=time_pyramids,
        step=time_step,
        eval=time_eval,
        peer=time_peer,
        demo=time_demo,
    )
    results = commands[args.command](args)
    if args.out:
        left_out = ('command', 'out', 'data_root', 'peer_python')  # paths are specific to the machine
        settings = {name: value for name, value in vars(args).items() if name not in left_out}
        write_results(args.out, args.command, settings, results)
        print(f'wrote {args.out}')


if __name__ == '__main__':
    _start.run(main)
