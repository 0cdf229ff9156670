"""Intervals of hooks in training iterations."""

from mmengine.runner import Runner


def is_due(runner: Runner, interval: int) -> bool:
    """Return whether the current training iteration ends an interval, or a training that is shorter than one."""
    iteration = runner.iter + 1
    return iteration % interval == 0 or iteration == runner.max_iters < interval
