"""The figures of the README are those of the kept results."""

import json

import pytest

from fnoise_mmdet.comparison.saved_comparison import read_comparisons

CONDITION = 'cct_0.3'


@pytest.fixture
def readme(root):
    return (root / 'README.md').read_text(encoding='utf-8')


def test_is_short(readme):
    assert len(readme.splitlines()) <= 180


@pytest.mark.parametrize(
    ('label', 'key'),
    [
        ('mask AP', 'coco/segm_mAP'),
        ('box AP', 'coco/bbox_mAP'),
        ('validation loss', 'val_loss'),
        ('mask mPC (15 corruptions)', 'segm_mAP/mPC'),
    ],
)
def test_the_study(root, readme, label, key):
    study = read_comparisons(sorted((root / 'docs/study/labels/640').glob('seeds_*.json')), [CONDITION], [key])
    (measure,), (difference,) = study.measures, study.differences
    values = [f'{measure.mean(name):.3f} ± {measure.deviation(name):.3f}' for name in study.conditions]
    interval = f'{difference.seeds.low:+.3f} to {difference.seeds.high:+.3f}'
    row = f'| {label} | {" | ".join(values)} | {difference.mean:+.3f} | {interval} |'.replace('-', '−')
    assert row in readme
    assert f'n = {len(difference.by_seed)} paired seeds' in readme and not difference.seeds.excludes_zero()


@pytest.mark.parametrize(
    ('row', 'file', 'subject'),
    [
        ('| forward and backward pass of C2 to C5, images of 1333 x 800, against a copy | H100 |', 'gpu_noise', 'cct'),
        ('| the same, images of 512 x 320, against a copy | 2 CPU cores |', 'noise', 'cct'),
        ('| training step of Mask R-CNN R50, against one without noise | H100 |', 'gpu_step_r50', 'cct'),
        ('| training step of the demo, against one without noise | 2 CPU cores |', 'step_demo', 'cct'),
    ],
)
def test_the_overhead(root, readme, row, file, subject):
    content = json.loads((root / f'benchmarks/{file}.json').read_text())
    result = content['results'][subject]
    page = (root / 'docs/performance.md').read_text(encoding='utf-8')
    (shown,) = {line.removeprefix(row).strip(' |') for line in readme.splitlines() if line.startswith(row)}
    assert shown.startswith(f'{result["ratio"]:.3f} ± ') and f'| {shown} |' in page
