import numpy as np
import pytest

from fnoise_mmdet.visualization import Detection, detections_panel, f1_score, mark_outcomes
from fnoise_mmdet.visualization.detections import OUTCOMES

TRUE_POSITIVE, FALSE_POSITIVE, MISSED = OUTCOMES


def at(x, label='a', score=None, size=10):
    return Detection((x, 0, x + size, 10), label, score)


def outcomes(marked):
    return [(one.box[0], one.outcome) for one in marked]


def test_each_object_is_matched_once_by_the_best_score():
    marked = mark_outcomes([at(0), at(50)], [at(1, score=0.5), at(0, score=0.9), at(80, score=0.7)])
    assert outcomes(marked) == [(0, TRUE_POSITIVE), (80, FALSE_POSITIVE), (1, FALSE_POSITIVE), (50, MISSED)]
    assert f1_score(marked) == pytest.approx(2 * 1 / (3 + 2))  # 3 detections, 2 objects


def test_class_and_threshold_decide():
    assert outcomes(mark_outcomes([at(0)], [at(0, 'b', 0.9)])) == [(0, FALSE_POSITIVE), (0, MISSED)]
    # Shifted by 3 of 10: IoU 7 / 13 = 0.54; by 4: 6 / 14 = 0.43.
    assert outcomes(mark_outcomes([at(0)], [at(3, score=0.9)])) == [(3, TRUE_POSITIVE)]
    assert outcomes(mark_outcomes([at(0)], [at(4, score=0.9)])) == [(4, FALSE_POSITIVE), (0, MISSED)]


def test_masks_decide_where_all_have_them():
    left, right = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    left[:, :5], right[:, 5:] = True, True
    truth, found = Detection((0, 0, 10, 10), 'a', None, left), Detection((0, 0, 10, 10), 'a', 0.9, right)
    assert [one.outcome for one in mark_outcomes([truth], [found])] == [FALSE_POSITIVE, MISSED]
    assert [one.outcome for one in mark_outcomes([truth._replace(mask=None)], [found])] == [TRUE_POSITIVE]


def test_detections_of_a_crowd_do_not_count():
    assert outcomes(mark_outcomes([], [at(0, score=0.9), at(90, score=0.8)], crowds=[at(0, size=50)])) == [
        (90, FALSE_POSITIVE)
    ]


def test_nothing_is_perfect_without_objects():
    assert mark_outcomes([], []) == [] and f1_score([]) == 1


def test_panel_explains_the_colours():
    image = np.full((64, 64, 3), 120, dtype=np.uint8)
    plain = detections_panel(image, [('a', [at(10, score=0.9)])])
    marked = detections_panel(image, [('a', mark_outcomes([at(10)], [at(10, score=0.9)]))])
    assert marked.shape[0] > plain.shape[0]
