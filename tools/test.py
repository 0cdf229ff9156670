"""Evaluate a checkpoint, and draw its detections."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('test')
