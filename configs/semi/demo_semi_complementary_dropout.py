# Complementary dropout of UniMatch V2: two passes, each with the channels that the other one drops.
_base_ = './demo_semi_fnoise.py'

model = dict(
    detector=dict(neck=dict(noise=dict(_delete_=True, type='ChannelDropout', drop_prob=0.5))),
    semi_train_cfg=dict(views=2, antithetic=True),
)
