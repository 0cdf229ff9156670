"""Draw clean and perturbed features of images, without a training."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('show_noise')
