import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fnoise_mmdet.engine.hooks import FiniteLossHook
from fnoise_mmdet.models.necks import FNoiseNeck


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, broken):
        fine = self.layer(torch.ones(1, 2)).sum()
        return dict(
            loss_cls=fine * (float('nan') if broken else 1.0), loss_rpn=[fine, fine / (0 if broken else 1)], acc=fine
        )


@pytest.fixture
def model():
    return Detector()


def attach(hook, model):
    hook.before_train(SimpleNamespace(model=model, iter=6, epoch=1, logger=logging.getLogger('test')))
    return model


def test_a_loss_that_is_not_finite_is_named_with_its_level_before_the_step(model):
    attach(FiniteLossHook(), model)
    assert model(broken=False)['acc'].isfinite()
    with pytest.raises(
        FloatingPointError, match=r'in iteration 7 \(epoch 2\) loss_cls is nan, loss_rpn of level 1 is -?inf; lower'
    ):
        model(broken=True)


def test_where_the_features_were_not_finite_their_level_is_named_instead(model):
    """On a GPU the neck has not said so yet."""
    model.neck = FNoiseNeck(None)
    model.neck._checks[0, 1].defer('inputs are not finite', {0: (2, 3), 1: (4, 5)}, torch.tensor([1.0, float('inf')]))
    attach(FiniteLossHook(action='skip'), model)(broken=False)
    with pytest.raises(FloatingPointError, match=r'inputs are not finite: level 1 of shape \(4, 5\) has Inf'):
        model(broken=True)
    model(broken=True)


def test_evaluation_is_left_alone(model):
    attach(FiniteLossHook(), model).eval()
    model(broken=True)


@torch.no_grad()
def test_validation_losses_are_left_alone(model):
    """They are computed with the detector in training mode, but without gradients."""
    hook = FiniteLossHook(action='skip')
    assert attach(hook, model)(broken=True)['loss_cls'].isnan() and hook.skipped == 0


def test_skipping_gives_no_gradient_and_counts(model, caplog):
    hook = FiniteLossHook(action='skip')
    attach(hook, model)
    losses = model(broken=True)
    assert losses['loss_cls'] == 0 and losses['loss_rpn'] == 0
    losses['loss_cls'].backward()
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
    assert hook.skipped == 1 and 'loss_rpn of level 1' in caplog.text
    hook.after_train(hook._runner)
    assert 'skipped 1 iterations with a non-finite loss' in caplog.text
    with pytest.raises(FloatingPointError):
        attach(FiniteLossHook(), Detector())(broken=True)


def test_wrong_action():
    with pytest.raises(ValueError, match=r"action must be one of \('stop', 'skip'\), but got 'go'"):
        FiniteLossHook('go')
