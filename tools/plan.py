"""Estimate the cost of a study before it is started: GPU hours, days, disk."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('plan')
