# F-Noise's power spread evenly: noise in proportion to the norm of the whole feature map.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(preset='l2')))
