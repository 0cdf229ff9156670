import json
import sys

import pytest

from fnoise_mmdet.engine.mixed_precision import computes_in_bfloat16
from fnoise_mmdet.engine.torchvision_operators import has_operators


def results(path, command, rounds=3):
    content = json.loads(path.read_text())
    assert content['command'] == command and content['settings']['rounds'] == rounds and content['environment']['torch']
    for timing in content['results'].values():
        for one in [timing] if 'median' in timing else timing.values():
            assert 0 < one['low'] <= one['median'] <= one['high'] and one['rounds'] == rounds
    return content['results']


def test_noise(tool, tmp_path):
    result = tool('dev/benchmark', 'noise', '--quick', '--size', 64, 64, '--out', tmp_path / 'noise.json')
    found = results(tmp_path / 'noise.json', 'noise')
    assert found['copy, x * 1.0']['ratio'] == 1 and 'MixStyle' in found and 'DSU' in result.stdout
    kept = {name: timing['kept_bytes'] for name, timing in found.items()}
    assert [kept[name] for name in ('cct', 'uniform_20', 'l2', 'mean_normal')] == [0] * 4
    elements = sum(channels * (64 // stride) ** 2 for channels, stride in zip((256, 512, 1024, 2048), (4, 8, 16, 32)))
    assert kept['cct, code of the paper'] == 4 * elements  # the noise, one for both images
    assert kept['torch.nn.functional.dropout'] == 2 * 4 * elements


def test_sizes(tool, tmp_path):
    tool('dev/benchmark', 'sizes', '--quick', '--out', tmp_path / 'sizes.json')
    assert [round(int(size) / 1e6, 1) for size in results(tmp_path / 'sizes.json', 'sizes')] == [0.1, 1.0, 10.0]


def test_pyramids(tool, tmp_path):
    tool('dev/benchmark', 'pyramids', '--quick', '--out', tmp_path / 'pyramids.json')
    found = results(tmp_path / 'pyramids.json', 'pyramids')
    assert list(found) == ['1 level, 2 images', '2 levels, 2 images', '4 levels, 1 image', 'add_fnoise']
    assert '| 2 levels, 2 images; a copy ' in tool('dev/benchmark', 'table', tmp_path).stdout


def test_step(tool, shapes, tmp_path):
    options = ['--noises', 'cct', 'DSU', 'cct@roi', '--quick', '--data-root', shapes, '--out', tmp_path / 'step.json']
    stdout = tool('dev/benchmark', 'step', '--batch-size', 3, *options).stdout
    assert 'a training step of configs/demo_baseline.py, 3 images' in stdout
    names = ['without noise', 'baseline, repeated (A/A)', 'cct', 'DSU', 'cct@roi', 'overhead only (scale 1e-12)']
    assert list(results(tmp_path / 'step.json', 'step')) == names
    error = tool('dev/benchmark', 'step', '--noises', 'ctt', '--data-root', shapes, status=2).stderr
    assert 'did you mean cct' in error


def test_evaluation_runs_the_same_operations(tool, shapes, tmp_path):
    result = tool('dev/benchmark', 'eval', '--quick', '--data-root', shapes, '--out', tmp_path / 'eval.json')
    assert 'difference: none' in result.stdout
    plain, noisy = results(tmp_path / 'eval.json', 'eval').values()
    assert plain['operations'] == noisy['operations'] > 100


STAND_IN = """
import torch
__version__ = '0.0'

class Model(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_classes))

    def forward(self, images, targets):
        for image, target in zip(images, targets):
            assert image.dtype == torch.float32 and 0 <= image.min() < image.max() <= 1
            height, width = image.shape[1:]
            assert target['masks'].shape[1:] == (height, width) and target['masks'].max() == 1
            assert (target['boxes'][:, 2:] > target['boxes'][:, :2]).all() and target['boxes'][:, 2].max() <= width
            assert 1 <= target['labels'].min() and target['labels'].max() < len(self.weight)
        return dict(loss=self.weight.sum())

class detection:
    @staticmethod
    def maskrcnn_resnet50_fpn(weights, weights_backbone, num_classes, rpn_post_nms_top_n_train, _skip_resize):
        return Model(num_classes)

class models:
    detection = detection
"""


@pytest.mark.long
def test_peer(tool, shapes, tmp_path):
    """Against a stand-in, which checks what it is given, in a process with a Python of its own."""
    (tmp_path / 'torchvision.py').write_text(STAND_IN)
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    options = ['--quick', '--size', 64, 64, '--data-root', shapes, '--peer-python', python, '--threads', 1]
    result = tool('dev/benchmark', 'peer', *options, '--out', tmp_path / 'peer.json')
    found = results(tmp_path / 'peer.json', 'peer', rounds=2)
    names = ['torchvision', "mmdet with mmcv's RoIAlign", 'without F-Noise', 'with F-Noise']
    if computes_in_bfloat16():
        names = [names[0], 'torchvision, mixed precision', *names[1:], 'with F-Noise, --amp']
    assert list(found) == names
    losses = {name: timing['losses'] for name, timing in found.items()}
    assert {len(values) for values in losses.values()} == {4} and losses['torchvision'] == sorted(
        losses['torchvision']
    )[::-1]
    # Of the same weights; those of later steps differ by what rounding becomes in a training.
    assert losses['without F-Noise'][0] == pytest.approx(losses["mmdet with mmcv's RoIAlign"][0], rel=1e-4)
    assert losses['without F-Noise'] != losses['with F-Noise'] and 'losses of with F-Noise: ' in result.stdout


@pytest.mark.slow
def test_missing_peer(tool, shapes, tmp_path):
    options = ['--quick', '--size', 64, 64, '--data-root', shapes, '--peer-python', '/bin/false']
    error = tool('dev/benchmark', 'peer', *options, status=2)
    assert 'torchvision does not run with --peer-python /bin/false' in error.stderr
    dying = tmp_path / 'dying'
    dying.write_text('#!/bin/sh\necho torch 0, torchvision 0\n')
    dying.chmod(0o755)
    options = ['--quick', '--size', 64, 64, '--data-root', shapes, '--peer-python', dying]
    error = tool('dev/benchmark', 'peer', *options, status=1).stderr
    assert 'error: the torchvision process has ended' in error and 'Traceback' not in error
    options[-1] = 'nowhere'
    assert '--peer-python nowhere cannot be run' in tool('dev/benchmark', 'peer', *options, status=2).stderr
    if not has_operators():
        error = tool('dev/benchmark', 'peer', '--data-root', shapes, status=2).stderr
        assert 'torchvision with operators for this torch is not installed' in error


def test_table_goes_into_a_file(tool, tmp_path):
    tool('dev/benchmark', 'noise', '--quick', '--size', 64, 64, '--out', tmp_path / 'noise.json')
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- benchmarks -->\nold\n<!-- benchmarks -->\nafter\n')
    tool('dev/benchmark', 'table', tmp_path, '--into', page)
    before, table, after = page.read_text().split('<!-- benchmarks -->')
    assert (before, after) == ('before\n', '\nafter\n') and '| cct; 0.0 MiB saved' in table and 'old' not in table
    assert table.strip() == tool('dev/benchmark', 'table', tmp_path).stdout.strip()
    page.write_text('no place')
    error = tool('dev/benchmark', 'table', tmp_path, '--into', page, status=2).stderr
    assert 'page.md is not a file with two lines' in error


@pytest.mark.long
@pytest.mark.xdist_group('demo')  # which makes data/shapes
def test_demo(tool, tmp_path):
    tool('dev/benchmark', 'demo', '--quick', '--out', tmp_path / 'demo.json')
    found = json.loads((tmp_path / 'demo.json').read_text())['results']['make demo']
    assert found['seconds'] > 10 and set(found['mask_ap50']) == {'baseline', 'fnoise'}


def test_wrong_input(tool, tmp_path):
    assert '--device nowhere cannot be used' in tool('dev/benchmark', 'noise', '--device', 'nowhere', status=2).stderr
    assert 'config nowhere.py is not a file' in tool('dev/benchmark', 'step', 'nowhere.py', status=2).stderr
    assert 'must be >= 2, but got 1' in tool('dev/benchmark', 'noise', '--rounds', 1, status=2).stderr
