import json
from dataclasses import replace

import pytest

from fnoise_mmdet.studies import cost
from fnoise_mmdet.studies.cost import CONFIG, PUBLISHED, Estimate, Study


def figure(value: float, unit: str = '', source: str = 'a page') -> Estimate:
    return Estimate(value, unit, PUBLISHED, source)


@pytest.fixture
def study() -> Study:
    """3 scales x 2 seeds; 4 GPUs of 2 images each; 10 epochs of 99 images."""
    return Study(
        scales=[0, 0.1, 0.3],
        seeds=2,
        train_images=figure(99),
        length=figure(10),
        by_epoch=True,
        batch=figure(2),
        step_images=figure(8),
        step_seconds=figure(36, 's'),
        validations=figure(5),
        val_images=figure(20),
        val_seconds=figure(3, 's'),
        metric_seconds=figure(1.8, 's'),
        gradient_bytes=figure(80e6, 'B'),
        checkpoint_bytes=figure(200e6, 'B'),
        checkpoints=figure(10),
        data_bytes=figure(1e9, 'B', 'a shop'),
    )


def test_steps(study):
    assert (study.trainings, study.processes) == (6, 4)
    assert study.epoch_steps == 13  # 99 images: 25 a GPU, in 13 batches
    assert study.steps == 130
    assert replace(study, by_epoch=False, length=figure(700)).steps == 700


def test_hours(study):
    assert study.train_hours == pytest.approx(130 * 4 * 36 / 3600)  # 5.2
    # an image: 3 s to detect, a third of 36 / 2 for the losses
    assert study.val_hours == pytest.approx(5 * 20 * (3 + 6) / 3600)  # 0.25
    assert study.metric_hours == pytest.approx(0.05)
    assert study.hours(1) == pytest.approx(5.5)
    assert study.hours(4) == pytest.approx(5.45 / 4 + 0.05)  # the metrics take no less


def test_plans(study):
    rows = [(plan.gpus, plan.each, plan.at_once, plan.waves) for plan in cost.plans(study, [8, 1, 8, 4, 16])]
    assert rows == [(1, 1, 1, 6), (4, 1, 4, 2), (4, 4, 1, 6), (8, 1, 6, 1), (8, 4, 2, 3), (16, 1, 6, 1), (16, 4, 4, 2)]
    side_by_side, together = cost.plans(study, [4])
    assert side_by_side.days == pytest.approx(2 * 5.5 / 24)
    assert side_by_side.busy_hours == pytest.approx(6 * 5.5)
    assert side_by_side.reserved_hours == pytest.approx(2 * 4 * 5.5)  # two GPUs have nothing to do in the second wave
    assert together.busy_hours == together.reserved_hours == pytest.approx(6 * 4 * (5.45 / 4 + 0.05))


def test_storage_and_network(study):
    found = cost.figures(study, [4, 16])
    storage, network = found['storage'], found['network']
    assert storage['checkpoints of the study'].value == 6 * 10 * 200e6
    assert storage['checkpoints of the study, only the last of each training'].value == 6 * 200e6
    assert storage['all of it'].value == 1e9 + 12e9 + 6 * 20 * 100 * 1000
    assert network['sent by each of 4 GPUs a step'].value == 2 * 3 / 4 * 80e6
    assert network['bandwidth needed by each of 4 GPUs'].value == pytest.approx(120e6 / 3.6)  # a tenth of 36 s
    assert network['sent by each of 4 GPUs in a training'].value == 130 * 120e6
    assert network['sent by each of 16 GPUs a step'].value == 2 * 15 / 16 * 80e6
    assert '32 images a step, not planned' in network['sent by each of 16 GPUs a step'].source
    assert network['images read, a GPU'].value == pytest.approx(1e9 / (13 * 4 * 36))


def test_a_training_of_one_gpu_exchanges_nothing(study):
    alone = replace(study, step_images=figure(2), data_bytes=None)
    assert cost.figures(alone, [64])['network'] == {}
    assert [plan.each for plan in cost.plans(alone, [1, 8])] == [1, 1]
    assert not any('accumulates' in text for text in cost.assumptions(alone))
    assert 'data set apart' in cost.figures(alone, [1])['storage']['all of it'].source


def test_figures_are_read_with_their_units():
    written = [
        (265e-3, 's', '265 ms'), (2.12, 's', '2.12 s'), (51.75, 'h', '51.8 h'), (1234567, '', '1,234,567'),
        (354e6, 'B', '354 MB'), (20.24e9, 'B', '20.2 GB'), (1.3e6, 'B/s', '1.3 MB/s'),
        (12.5e9, 'B/s', '12.5 GB/s (100 Gbit/s)'),
    ]  # fmt: skip
    for value, unit, text in written:
        assert str(Estimate(value, unit, CONFIG, '')) == text


def test_markdown_marks_every_figure_and_cites(study):
    text = cost.cost_tables(study, [1, 4], {'a shop': 'https://shop', 'nobody': 'https://nobody'})
    assert '| 4 | 4 GPUs | 1 | 6 | 1.4 | 0.4 | 34 | 34 |' in text
    assert '| trainings | 6 | computed | 3 scales (0, 0.1, 0.3; with the baseline, scale 0) x 2 seeds |' in text
    assert '| data set | 1 GB | published | a shop |' in text
    assert '- a shop: https://shop' in text and 'nobody' not in text
    without = replace(study, scales=[0.1])
    assert 'without the baseline' in cost.figures(without, [1])['work']['trainings'].source


def test_json_has_the_same(study):
    content = json.loads(json.dumps(cost.as_json(study, [4])))
    assert content['figures']['time']['pass of one GPU'] == dict(value=36, unit='s', kind=PUBLISHED, source='a page')
    assert content['plans'][1]['waves'] == 6 and len(content['assumptions']) == 5
