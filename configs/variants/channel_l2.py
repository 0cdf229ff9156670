# Normal noise in proportion to the L2 norm of each channel, after the FPN.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(preset='channel_l2'), position='post'))
