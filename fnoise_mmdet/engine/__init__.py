"""Training and evaluation around mmengine's runner: hooks, checkpoints, resuming, checks beforehand."""
