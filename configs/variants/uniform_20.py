# Every feature times a random factor from 0.8 to 1.2, drawn for each sample apart, after the FPN.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(preset='uniform_20'), position='post'))
