"""Train a detector, with or without F-Noise."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('train')
