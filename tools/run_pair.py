"""Train a detector without and with F-Noise over several seeds, and compare."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('run_pair')
