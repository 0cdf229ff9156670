# F-Noise in antithetic pairs: every second image of a batch has the opposite noise.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='AntitheticNoise')))
