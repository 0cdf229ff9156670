# Whole channels are dropped, with CCT's probability of 0.3; UniMatch's is drop_prob=0.5.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='ChannelDropout')))
