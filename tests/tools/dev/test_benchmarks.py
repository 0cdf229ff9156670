import json
from pathlib import Path

import pytest

from benchmarks import benchmark_table, pyramid_figure
from fnoise_mmdet.errors import InputError

MACHINE = {'processor': 'Z80', 'cores': '2', 'GPU': 'none', 'torch threads': '1', 'torch': '2.9'}


def timing(median: float, ratio: float, **more) -> dict:
    return dict(
        median=median,
        low=median,
        high=median,
        ratio=ratio,
        ratio_low=ratio - 0.1,
        ratio_high=ratio + 0.1,
        rounds=3,
        **more,
    )


def write(folder: Path, command: str, settings: dict, results: dict) -> None:
    content = dict(command=command, settings=settings, environment=MACHINE, results=results)
    (folder / f'{command}.json').write_text(json.dumps(content))


def test_every_command_has_its_rows(tmp_path):
    shape = dict(batch_size=2, size=[64, 32])
    write(
        tmp_path, 'noise', shape,
        dict(copy=timing(0.01, 1, kept_bytes=0), cct=timing(0.02, 2, kept_bytes=2**20)),
    )  # fmt: skip
    write(tmp_path, 'sizes', {}, {'2000000': {'copy': timing(0.002, 1), 'F-Noise': timing(0.004, 2)}})
    write(
        tmp_path, 'step', dict(config='a.py', batch_size=4, amp=True),
        {'without noise': timing(1, 1), 'cct': timing(1.5, 1.5)},
    )  # fmt: skip
    write(
        tmp_path, 'eval', dict(config='a.py'),
        {'without F-Noise': timing(1, 1, operations=7), 'with F-Noise': timing(1, 1, operations=9)},
    )  # fmt: skip
    write(tmp_path, 'peer', shape, {'torchvision': timing(7.5, 1), 'with F-Noise': timing(6, 0.8)})
    write(tmp_path, 'demo', {}, {'make demo': dict(seconds=300.4, mask_ap50=dict(baseline=0.55, fnoise=0.5))})
    lines = benchmark_table(tmp_path).splitlines()
    assert lines[:2] == ['Measured on Z80, 2 cores, 1 threads, torch 2.9:', '']
    assert lines[4:] == [
        '| **make demo** |  |  |  |',
        '| both trainings and their comparison; mask AP50 0.55 and 0.50 | 300 s |  |  |',
        '| **evaluation of a.py, against one without F-Noise, which runs 7 operations** |  |  |  |',
        '| with F-Noise; 9 operations | 1 s | 1.000 ± 0.210 | 0.900 to 1.100 |',
        '| **forward and backward pass of C2 to C5, 2 images of 64 x 32, against a copy** |  |  |  |',
        '| cct; 1.0 MiB saved for backward | 20 ms | 2.000 ± 0.210 | 1.900 to 2.100 |',
        "| **training step of Mask R-CNN R50-FPN, 2 images of 64 x 32, against torchvision's** |  |  |  |",
        '| with F-Noise | 6 s | 0.800 ± 0.210 | 0.700 to 0.900 |',
        '| **F-Noise, time per element, forward and backward pass of one level, against a copy** |  |  |  |',
        '| 2.0 million elements; a copy 1 ns | 2 ns | 2.000 ± 0.210 | 1.900 to 2.100 |',
        '| **training step of a.py, 4 images, mixed precision, against one without noise** |  |  |  |',
        '| cct | 1.5 s | 1.500 ± 0.210 | 1.400 to 1.600 |',
    ]


def test_every_machine_has_its_table(tmp_path, monkeypatch):
    settings = dict(batch_size=2, size=[64, 32], dtype='float16')
    results = dict(copy=timing(0.01, 1, kept_bytes=0), cct=timing(0.02, 2, kept_bytes=0))
    write(tmp_path, 'noise', settings, results)
    (tmp_path / 'noise.json').rename(tmp_path / 'a_gpu.json')
    monkeypatch.setitem(MACHINE, 'GPU', 'Voodoo')
    write(tmp_path, 'noise', settings, results)
    first, second = benchmark_table(tmp_path).split('\n\nMeasured on ')
    assert first.startswith('Measured on Voodoo, Z80, 2 cores')
    assert second.startswith('Z80, 2 cores')
    assert all('2 images of 64 x 32, float16' in table for table in (first, second))


def test_what_is_no_result_is_named(tmp_path):
    with pytest.raises(InputError, match='has no results'):
        benchmark_table(tmp_path)
    (tmp_path / 'other.json').write_text('{"command": "noise"}')
    with pytest.raises(InputError, match='other.json was not written by tools/dev/benchmark.py'):
        benchmark_table(tmp_path)


def test_the_page_on_performance_has_the_table_of_the_kept_results(root):
    page = (root / 'docs/performance.md').read_text(encoding='utf-8')
    assert benchmark_table(root / 'benchmarks') in page


def test_pyramid_figure(tmp_path):
    pair = {'copy': timing(0.01, 1), 'F-Noise': timing(0.02, 2)}
    shapes = [
        '1 level, 2 images',
        '8 levels, 2 images',
        '4 levels, 1 image',
        '4 levels, 64 images',
        '4 levels, 2 images',
    ]
    inserted = {'copy of the config': timing(0.01, 1), 'add_fnoise': timing(0.015, 1.5)}
    write(tmp_path, 'pyramids', {}, dict.fromkeys(shapes, pair) | dict(add_fnoise=inserted))
    figure = pyramid_figure(tmp_path / 'pyramids.json')
    levels, images = figure.axes
    assert 'add_fnoise takes 15 ms' in figure.get_suptitle()
    assert [list(line.get_xdata()) for line in levels.lines] == [[1, 4, 8]] * 2
    assert [list(line.get_xdata()) for line in images.lines] == [[1, 2, 64]] * 2
    assert [line.get_ydata()[0] for line in levels.lines] == [10, 20]
    write(tmp_path, 'step', {}, {})
    with pytest.raises(InputError, match='was not written by tools/dev/benchmark.py pyramids'):
        pyramid_figure(tmp_path / 'step.json')


def test_the_page_on_performance_names_the_worst_sizes_on_a_gpu(root):
    page = (root / 'docs/performance.md').read_text(encoding='utf-8')
    sizes = json.loads((root / 'benchmarks/gpu_sizes.json').read_text())['results']
    worst = max(sizes, key=lambda size: sizes[size]['F-Noise']['ratio'])
    ratio = sizes[worst]['F-Noise']['ratio']
    assert f'the worst of single levels, {int(worst) / 1e6:.0f} million elements: {ratio:.2f} |' in page
    slowest = max(sizes, key=lambda size: sizes[size]['F-Noise']['median'] / int(size))
    noise, copy = (1e12 * sizes[slowest][name]['median'] / int(slowest) for name in ('F-Noise', 'copy'))
    assert f'{noise:.0f} ps at {int(slowest) / 1e6:.1f} million (a copy {copy:.0f})' in page
