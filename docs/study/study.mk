# The trainings and figures of the study, see `make help`.
.PHONY: study study-photos study-semi

# The study in docs/study/ and the README uses all seeds saved there, so that several machines can train different seeds;
# SEEDS names those to train here. Interrupted runs resume.
SEEDS ?= 0 1 2
SPACE := $() $()
SHARE = seeds_$(subst $(SPACE),_,$(strip $(SEEDS)))
EMBEDDED = $(OUT)/study/embedded/$(SHARE)
study: | $(READY) $(SHAPES)
	@$(RUN) tools/sweep.py configs/demo_baseline.py --preset cct mean_normal=0.1 uniform_20=0.2 FDrop \
	    --condition FeatureDropBlock:FeatureDropBlock@pre \
	    --scale 0 0.1 0.2 0.3 0.5 1 --seeds $(SEEDS) --no-report --out $(EMBEDDED)
	@$(RUN) tools/robustness.py $(EMBEDDED) --severities 3
	$(call keep_study,$(EMBEDDED),embedded,$(SHARE))
	@$(RUN) tools/compare.py docs/study/embedded/seeds_*.json --mark embedded --into docs/study/README.md \
	    --figure docs/study/embedded/differences.png
	$(draw_map)

# On the photographs of DATA: seed S holds out fold S modulo 5, so that five seeds evaluate every photograph once. 24 epochs
# instead of 44 are long enough to overfit, and a seed of the four conditions takes 40 minutes on two cores.
study-photos: $(SEEDS:%=study-photos-%)
	@$(RUN) tools/compare.py docs/study/photos/seeds_*.json --mark photos --into docs/study/README.md \
	    --figure docs/study/photos/differences.png
	$(draw_map)

study-photos-%: | $(READY)
	@fold=$$(($* % 5)) && data=data/photos_folds/$$fold && \
	if [ ! -d $$data ]; then $(RUN) tools/coco_sample.py --from $(DATA) --fold $$fold/5 --out $$data; fi && \
	$(RUN) tools/sweep.py configs/photos_baseline.py --data-root $$data --preset cct=0.3 l2=0.3 \
	    --condition ChannelDropout_0.5:ChannelDropout model.neck.noise.drop_prob=0.5 \
	    --seeds $* --no-report --out $(OUT)/study/photos/seed_$* --cfg-options train_cfg.max_epochs=24 \
	    train_cfg.val_interval=12 param_scheduler.1.end=24 param_scheduler.1.T_max=24
	$(call keep_study,$(OUT)/study/photos/seed_$*,photos,seeds_$*)

# On images without labels: seed S has labels for another 64 of the 640 images. All conditions start from the
# checkpoint of its supervised training, in two blocks, with batch norm trained and frozen; those with twice as many labels
# from that of a training with these labels.
# study-semi-settings-S trains the conditions from which the protocol chose the teacher's settings.
SEMI := data/study_semi
STUDY_SEMI = $(OUT)/study/semi
study-semi: $(SEEDS:%=study-semi-%)
	@for block in trained frozen; do $(RUN) tools/compare.py docs/study/semi/$$block/seeds_*.json --mark semi_$$block \
	    --curve 64=supervised 128=labels_128 --into docs/study/README.md --figure docs/study/semi/$$block.png || exit; done

study-semi-%: $(STUDY_SEMI)/start_%
	$(call semi_block,trained,$*,$(SEMI_CONDITIONS))
	$(call semi_block,frozen,$*,$(SEMI_CONDITIONS),model.detector.backbone.norm_eval=True)

study-semi-settings-%: $(STUDY_SEMI)/start_%
	$(call semi_block,settings,$*,$(SEMI_SETTINGS))

SEMI_SWEEP = $(RUN) tools/sweep.py configs/semi/demo_semi_baseline.py --data-root $(SEMI) --no-report
.PRECIOUS: $(STUDY_SEMI)/start_% $(SEMI)/annotations/instances_train.%@64_images.json
$(STUDY_SEMI)/start_%: $(SEMI)/annotations/instances_train.%@64_images.json
	@$(SEMI_SWEEP) --scale 0 --condition labels_128 $(call semi_labels,$*,128) --seeds $* --out $@.part \
	    --cfg-options $(SUPERVISED) train_cfg.val_interval=640 $(call semi_labels,$*,64)
	@mv $@.part $@

$(SEMI)/annotations/instances_train.%@64_images.json: | $(SEMI)
	@$(RUN) tools/split_coco.py $(SEMI)/annotations/instances_train.json --number 64 128 --fold $*

$(SEMI): | $(READY)
	@$(RUN) tools/make_shapes.py --num-val 500 --out $@

# Settings: the $(2) labelled images of seed $(1), and where condition $(2) of seed $(1) starts from.
semi_labels = train_dataloader.dataset.datasets.0.ann_file=annotations/instances_train.$(1)@$(2)_images.json \
    train_dataloader.dataset.datasets.1.ann_file=annotations/instances_train.$(1)@$(2)_images-unlabeled.json
semi_start = load_from=$(STUDY_SEMI)/start_$(1)/$(2)/seed_$(1)/iter_640.pth
SUPERVISED := model.semi_train_cfg.feature_weight=0
SEMI_CONDITIONS = --scale 0.3 --preset cct l2 \
    --condition ChannelDropout_0.5:ChannelDropout model.detector.neck.noise.drop_prob=0.5 \
    --condition antithetic:cct=0.3 model.semi_train_cfg.views=2 model.semi_train_cfg.antithetic=True \
    --condition supervised $(SUPERVISED) \
    --condition labels_128 $(SUPERVISED) $(call semi_labels,$*,128) $(call semi_start,$*,labels_128)
SEMI_SETTINGS := --scale 0 --condition hard_0.5 model.semi_train_cfg.cls_pseudo_thr=0.5 \
    --condition hard_0.5_half model.semi_train_cfg.cls_pseudo_thr=0.5 model.semi_train_cfg.feature_weight=0.5 \
    --condition soft model.semi_train_cfg.targets=soft \
    --condition supervised $(SUPERVISED)

# Block $(1) of the study with seed $(2): conditions $(3), settings $(4).
define semi_block
	@$(SEMI_SWEEP) $(3) --seeds $(2) --out $(STUDY_SEMI)/$(1)_$(2) --cfg-options train_cfg.max_iters=320 \
	    train_cfg.val_interval=320 param_scheduler.1.end=320 param_scheduler.1.T_max=320 \
	    $(call semi_labels,$(2),64) $(call semi_start,$(2),baseline) $(4)
	$(call keep_study,$(STUDY_SEMI)/$(1)_$(2),semi/$(1),seeds_$(2))
endef

# Save the results of the study $(1) as docs/study/$(2)/$(3).json.
define keep_study
	@$(RUN) tools/compare.py $(1) --out $(1)/report --force
	@mkdir -p docs/study/$(2)
	@cp $(1)/report/comparison.json docs/study/$(2)/$(3).json
	@cp $(1)/baseline.py docs/study/$(2)/
endef

# The map of the conclusions in all regimes whose seeds are complete.
define draw_map
	@$(RUN) tools/compare.py --regime "embedded shapes=$$(ls docs/study/embedded/seeds_*.json | paste -sd,)" \
	    --regime "photographs=$$(ls docs/study/photos/seeds_*.json | paste -sd,)" --figure docs/study/map.png
endef
