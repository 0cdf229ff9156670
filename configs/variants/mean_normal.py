# Noise that is biased by the mean of the features and not proportional to them, on the backbone's
# last level: a negative control for F-Noise.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(preset='mean_normal'), levels=[-1]))
