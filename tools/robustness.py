"""Evaluate checkpoints under image corruptions, feature noise and perturbations of features by hardware."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('robustness')
