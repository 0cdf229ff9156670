# F-Noise that grows from 0 to its full scale over the first half of the training.
_base_ = '../fnoise.py'

custom_hooks = [*_base_.custom_hooks, dict(type='NoiseScheduleHook', schedule='linear', by_epoch=True, end=5)]
