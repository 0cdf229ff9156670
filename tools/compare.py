"""Compare runs: losses, AP and validation loss over seeds, with intervals, in one HTML report."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('compare')
