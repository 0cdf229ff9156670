"""Divide the training images of a data set into labelled and unlabelled ones."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('split_coco')
