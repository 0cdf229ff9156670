import contextlib
import math

import pytest
from mmengine.config import Config

from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.early_stopping import Rungs, cut_after, read_decisions


def training(**settings):
    return Config(dict(train_cfg=dict(dict(max_epochs=12, val_interval=1), **settings)))


def test_rungs_of_a_training():
    assert Rungs.of(training(), 'coco/bbox_mAP', 1, 3).epochs == [1, 3, 9]
    assert Rungs.of(training(val_interval=2), 'val_loss', 4, 2).epochs == [4, 8]


@pytest.mark.parametrize(
    'settings, grace, message',
    [
        (dict(val_interval=4), 4, None),
        (dict(val_interval=4), 2, 'decides after epoch 2, which is not validated'),
        (dict(val_begin=3), 1, 'decides after epoch 1, which is not validated'),
        (dict(max_epochs=None), 1, 'iteration-based'),
        (dict(), 12, '--asha-grace 12: the training has only 12 epochs'),
    ],
)
def test_rungs_that_cannot_be(settings, grace, message):
    with pytest.raises(InputError, match=message) if message else contextlib.nullcontext():
        Rungs.of(training(**settings), 'coco/bbox_mAP', grace, 3)


RUNGS = Rungs([1, 3], 'coco/bbox_mAP', 3)


def test_condition_waits_for_all_of_its_seeds():
    """Three have come with both seeds, the fourth with one: one of three goes on, and nothing is cut."""
    scores = {'a': [{1: 0.1}, {1: 0.3}], 'b': [{1: 0.9}, {}], 'c': [{1: 0.3}, {1: 0.3}], 'd': [{1: 0.2}, {1: 0.1}]}
    assert RUNGS.decide(scores, {}) == ({'c': 1}, {})
    # When the last seed has come, the better condition goes on too; what was promoted stands.
    scores['b'][1][1] = 0.9
    assert RUNGS.decide(scores, {'c': 1}) == ({'c': 1, 'b': 1}, {'a': 1, 'd': 1})


def test_the_best_of_the_last_rung_goes_to_the_end():
    scores = {'a': [{1: 0.1, 3: 0.5}], 'b': [{1: 0.2, 3: 0.4}], 'c': [{1: 0.0}]}
    promoted, cut = RUNGS.decide(scores, {'a': 1, 'b': 1})
    assert promoted == {'a': 3, 'b': 1} and cut == {'b': 3, 'c': 1}
    assert [RUNGS.next_rung(promoted.get(name, 0)) for name in 'abc'] == [None, 3, 1]


def test_lower_losses_are_better_and_nan_is_worst():
    scores = {'a': [{1: 0.5}], 'b': [{1: 0.4}], 'c': [{1: math.nan}]}
    assert RUNGS._replace(metric='val_loss').decide(scores, {}) == ({'b': 1}, {'a': 1, 'c': 1})
    assert RUNGS.decide(scores, {}) == ({'a': 1}, {'b': 1, 'c': 1})


@pytest.mark.parametrize('content', ['{', '[]', '3', '{"cut": 3}', '{"cut": {"a": "1"}}'])
def test_decisions_of_something_else(tmp_path, content):
    (tmp_path / 'sweep.json').write_text(content)
    with pytest.raises(InputError, match='sweep.json is not the file of the decisions of a sweep'):
        read_decisions(tmp_path)
    assert cut_after(tmp_path / 'a/seed_0') is None
