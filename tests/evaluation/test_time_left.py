import pytest

from fnoise_mmdet.evaluation.robustness import CostGroup, Evaluation
from fnoise_mmdet.evaluation.time_left import TimeLeft

CLEAN, NOISE = Evaluation('clean'), Evaluation('feature_noise', preset='cct', scale=0.3)
FOG_1, FOG_3, BLUR = (Evaluation('corruption', *one) for one in (('fog', 1), ('fog', 3), ('glass_blur', 1)))
EXPECTED = {
    CostGroup('clean'): 1.0,
    CostGroup('corruption', 'fog'): 2.0,
    CostGroup('corruption', 'glass_blur'): 5.0,
    CostGroup('feature_noise'): 1.5,
}


def test_before_the_first_evaluation_it_is_what_is_expected():
    time_left = TimeLeft([(CLEAN, 10), (FOG_1, 10), (NOISE, 4)], EXPECTED)
    assert time_left.seconds() == pytest.approx(10 * 1 + 10 * 2 + 4 * 1.5)
    assert time_left.seconds(images=3) == pytest.approx(7 * 1 + 10 * 2 + 4 * 1.5)


def test_corrupted_evaluations_are_not_taken_for_clean_ones():
    """Updated by the same corruption, else by other corruptions, else by all."""
    time_left = TimeLeft([(CLEAN, 10), (FOG_1, 10), (FOG_3, 10), (BLUR, 10), (NOISE, 10)], EXPECTED)
    time_left.finish(20)  # twice as long as expected
    assert time_left.seconds() == pytest.approx(2 * (20 + 20 + 50 + 15))
    time_left.finish(60)  # three times
    assert time_left.seconds() == pytest.approx(60 + 3 * 50 + (80 / 30) * 15)
    time_left.finish(100)
    assert time_left.seconds() == pytest.approx((160 / 40) * 50 + (180 / 50) * 15)
    time_left.finish(200)
    time_left.finish(15)
    assert time_left.seconds() == 0
