"""Train a detector without noise, with noises at several scales and with other settings over several seeds on Ray."""

from fnoise_mmdet.__main__ import run

if __name__ == '__main__':
    run('sweep')
