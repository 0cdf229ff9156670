"""Write the embedded data set of shapes in COCO format."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('make_shapes')
