"""Save the weights of a checkpoint alone, also of the teacher or the student of a semi-supervised training."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('publish_model')
