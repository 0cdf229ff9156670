"""Draw the detections of one detector on images, or of two side by side."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('infer')
