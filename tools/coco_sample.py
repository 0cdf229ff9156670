"""Draw a small, reproducible sample from COCO, or a fold of it: from a local folder, or over the network."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('coco_sample')
