import copy
import pickle

import pytest
import torch

from fnoise_mmdet.models.layers.call_counter import CallCounter

LEVELS = [torch.ones(1, 2, 3, 4)] * 3


def test_calls_are_counted_in_each_iteration():
    counter = CallCounter()
    iterations = (5, 5, 6, 6, 6, 5)
    assert [counter.count(iteration, LEVELS, torch.ones(3)) for iteration in iterations] == [0, 1, 0, 1, 2, 0]


def test_a_call_within_backward_gets_the_number_of_the_one_it_repeats():
    counter, numbers = CallCounter(), []
    levels = [[scale * x for x in LEVELS] for scale in (1.0, 2.0, 3.0)]
    for scale, xs in enumerate(levels, start=1):
        counter.count(7, xs, torch.full((3,), float(scale)))
    x = torch.ones(1, requires_grad=True)
    for xs in (levels[1], [1.0001 * x for x in levels[2]]):
        y = x * 2
        y.register_hook(lambda gradient, xs=xs: numbers.append(counter.count(7, xs, torch.zeros(3))))
        y.backward()
    assert numbers == [1, 2]


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_counted_nothing(duplicate):
    counter = CallCounter()
    counter.count(7, LEVELS, torch.ones(3))
    assert duplicate(counter).count(7, LEVELS, torch.ones(3)) == 0
    assert counter.count(7, LEVELS, torch.ones(3)) == 1
