import numpy as np
import pytest

from fnoise_mmdet.visualization import Detection, detections_panel, spread_columns, spread_of


def square(x, label='a', score=0.9, side=10):
    mask = np.zeros((40, 40), dtype=bool)
    mask[10 : 10 + side, x : x + side] = True
    return Detection((x, 10, x + side, 10 + side), label, score, mask)


@pytest.fixture
def spreads():
    clean = [square(0), square(20, 'b', 0.5)]
    samples = [
        [square(1, score=0.8), square(20, 'b', 0.4)],
        [square(20, 'b', 0.6), square(3, score=0.6)],
        [square(2, score=0.7), square(2, score=0.65), square(20, 'a')],  # a duplicate, another class
        [],
    ]
    return spread_of(clean, samples)


def test_means_and_standard_deviations(spreads):
    first, second = (spread.summary() for spread in spreads)
    assert (first['samples'], first['detected'], second['detected']) == (4, 3, 2)
    assert first['score_mean'] == pytest.approx(0.7) and first['score_std'] == pytest.approx(0.1)
    np.testing.assert_allclose(first['bbox_mean'], [2, 10, 12, 20])
    np.testing.assert_allclose(first['bbox_std'], [1, 0, 1, 0], atol=1e-12)
    assert second['score_mean'] == pytest.approx(0.5) and second['score_std'] == pytest.approx(0.02**0.5)
    # The squares begin at 1, 3 and 2.
    np.testing.assert_allclose(spreads[0].mask[10, :14] * 3, [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 2, 1, 0])


def test_too_few_samples():
    (spread,) = spread_of([square(0)], [[square(0, score=0.8)], []])
    summary = spread.summary()
    assert summary['detected'] == 1 and summary['score_mean'] == 0.8
    assert summary['score_std'] is None and summary['bbox_std'] is None
    (spread,) = spread_of([square(0)], [[], []])
    assert spread.summary()['bbox_mean'] is None and spread.mask is None
    columns = spread_columns([spread], 2)
    assert [len(detections) for _, detections in columns] == [1, 0, 1] and columns[2][1][0].text == '0 of 2'


def test_columns(spreads):
    (_, clean), (_, means), (_, every) = spread_columns(spreads, 4)
    assert [one.score for one in clean] == [0.9, 0.5]
    assert [one.text for one in means] == ['a 0.70 ± 0.10', 'b 0.50 ± 0.14']
    assert means[0].mask[10].nonzero()[0].tolist() == list(range(2, 12))
    assert [one.text for one in every] == ['', '', '', '± 1.0 px, 3 of 4', '', '', '± 0.0 px, 2 of 4']
    assert every[3].mask[10].nonzero()[0].tolist() == [1, 2, 11, 12]
    picture = detections_panel(np.zeros((40, 40, 3), dtype=np.uint8), spread_columns(spreads, 4))
    assert picture.shape[1] > 1000
