# The trainings and figures of the study: `make study REGIME=... SEEDS=...`, see `make help`.
#
# Results are saved in docs/study/ by seed, so that several machines can train different seeds; the page shows all
# saved ones. Interrupted runs resume.
REGIMES := embedded labels photos semi semi-photos
REGIME ?= embedded
SEEDS ?= 0 1 2
.PHONY: study $(REGIMES:%=study-%)

study:
	@test -n '$(filter $(REGIMES),$(REGIME))' || { echo 'REGIME=$(REGIME): choose one of $(REGIMES)' >&2; exit 1; }
	@$(MAKE) --no-print-directory study-$(REGIME)
	$(draw_map)

# The table and the figure of the study $(1) from all seeds that are saved, with options $(2).
define show_study
	@$(RUN) tools/compare.py docs/study/$(1)/seeds_*.json --mark $(subst /,_,$(1)) --into docs/study/README.md \
	    --figure docs/study/$(1)/differences.png $(2)

endef

# On the embedded data.
SPACE := $() $()
SHARE = seeds_$(subst $(SPACE),_,$(strip $(SEEDS)))
EMBEDDED = $(OUT)/study/embedded/$(SHARE)
study-embedded: | $(READY) $(SHAPES)
	@$(RUN) tools/sweep.py configs/demo_baseline.py --preset cct mean_normal=0.1 uniform_20=0.2 FDrop \
	    --condition FeatureDropBlock:FeatureDropBlock@pre \
	    --scale 0 0.1 0.2 0.3 0.5 1 --seeds $(SEEDS) --no-report --out $(EMBEDDED)
	@$(RUN) tools/robustness.py $(EMBEDDED) --severities 3
	$(call keep_study,$(EMBEDDED),embedded,$(SHARE))
	$(call show_study,embedded)

# With fewer labels, at as many iterations: seed S has labels for other images of the 640. `no_flip` is the positive
# control, as less augmentation must harm where labels are few. Only EXPLORATORY_SEEDS have the exploratory conditions.
# Numbers of labels whose results are saved are skipped.
EXPLORATORY_SEEDS := 0 1 2 3 4 5 6 7 8 9
LABEL_COUNTS := 40 80 160 640
LABELS := data/study_labels
STYLES := dark outline
ROBUSTNESS := $(foreach what,mPC noise domains deployment deployment_kept,segm_mAP/$(what))
study-labels: $(SEEDS:%=study-labels-%)
	@$(RUN) tools/compare.py --label-counts --measures coco/segm_mAP --conditions cct_0.3 no_flip --mark labels --into docs/study/README.md \
	    $(foreach count,$(LABEL_COUNTS),--regime $(count)=$(call saved,labels/$(count))) \
	    --figure docs/study/labels/curves.png
	$(call show_study,labels/640,--conditions cct_0.3 --measures $(ROBUSTNESS) --deployment-figure docs/study/labels/640/deployment.png)

study-labels-%: | $(LABELS) $(STYLES:%=$(LABELS)_%)
	$(call split,$(LABELS),$(filter-out 640,$(LABEL_COUNTS)),$*)
	$(foreach count,$(LABEL_COUNTS),$(if $(wildcard docs/study/labels/$(count)/seeds_$*.json),,$(call labels_count,$*,$(count),$(OUT)/study/labels/$(count)_$*)))

# The conditions with seed $(1) and $(2) labels, in the folder $(3).
define labels_count
	@$(RUN) tools/sweep.py configs/demo_baseline.py --data-root $(LABELS) --scale 0.3 \
	    --preset cct $(if $(filter $(EXPLORATORY_SEEDS),$(1)),l2 --condition mean_normal_0.1:mean_normal=0.1 \
	    --condition ChannelDropout_0.5:ChannelDropout model.neck.noise.drop_prob=0.5) \
	    $(if $(filter $(EXPLORATORY_SEEDS),$(1))$(filter 40,$(2)),--condition no_flip train_dataloader.dataset.pipeline.3.prob=0.0) \
	    --seeds $(1) --no-report --out $(3) --cfg-options $(call labels_settings,$(1),$(2),1)
	$(if $(filter 640,$(2)),$(call shifted,$(3)))
	$(call keep_study,$(3),labels/$(2),seeds_$(1))

endef

# Settings: the $(2) labelled images of seed $(1), 2560 images in 640 iterations, and $(3) validations.
labels_settings = $(foreach key,train_cfg.max_epochs default_hooks.checkpoint.interval param_scheduler.1.end \
    param_scheduler.1.T_max,$(key)=$$((2560 / $(2)))) train_cfg.val_interval=$$((2560 / $(2) / $(3))) \
    $(if $(filter-out 640,$(2)),train_dataloader.dataset.ann_file=annotations/instances_train.$(1)@$(2)_images.json)

# Whether the validation loss turns in as many iterations, on a seed that is not reported.
LENGTH = $(OUT)/study/labels/length
study-labels-length: | $(LABELS)
	$(call split,$(LABELS),$(filter-out 640,$(LABEL_COUNTS)),100)
	@$(RUN) tools/sweep.py configs/demo_baseline.py --data-root $(LABELS) --scale 0 --seeds 100 --no-report --out $(LENGTH) \
	    $(foreach count,$(filter-out 640,$(LABEL_COUNTS)),--condition labels_$(count) $(call labels_settings,100,$(count),8)) \
	    --cfg-options $(call labels_settings,100,640,4)
	@$(RUN) tools/compare.py $(LENGTH) --out $(LENGTH)/report --force
	@cp $(LENGTH)/report/figures/validation_losses.png docs/study/labels/

# What the detectors are worth elsewhere: under corruption, in other styles, and with features as on hardware.
define shifted
	@$(RUN) tools/robustness.py $(1)/baseline $(1)/cct_0.3 --severities 3 --noise-scales 0.3 --deployment --images 200 \
	    --domain $(foreach style,$(STYLES),$(style)=$(LABELS)_$(style)/val)
endef

$(LABELS) $(STYLES:%=$(LABELS)_%): | $(READY)
	@$(RUN) tools/make_shapes.py --num-val 1000 $(if $(filter-out $(LABELS),$@),--style $(@:$(LABELS)_%=%)) --out $@

# On the photographs of DATA: seed S holds out fold S modulo 5, so that five seeds evaluate every photograph once. 24 epochs
# instead of 44 are long enough to overfit, and a seed of the four conditions takes 40 minutes on two cores.
photo_fold = data/photos_folds/$$(($(1) % 5))
study-photos: $(SEEDS:%=study-photos-%)
	$(call show_study,photos)

study-photos-%: | $(READY)
	$(call draw_fold,$*)
	@$(RUN) tools/sweep.py configs/photos_baseline.py --data-root $(call photo_fold,$*) --preset cct=0.3 l2=0.3 \
	    --condition ChannelDropout_0.5:ChannelDropout model.neck.noise.drop_prob=0.5 \
	    --seeds $* --no-report --out $(OUT)/study/photos/seed_$* --cfg-options train_cfg.max_epochs=24 \
	    train_cfg.val_interval=12 param_scheduler.1.end=24 param_scheduler.1.T_max=24
	$(call keep_study,$(OUT)/study/photos/seed_$*,photos,seeds_$*)

define draw_fold
	@test -d $(call photo_fold,$(1)) || \
	    $(RUN) tools/coco_sample.py --from $(DATA) --fold $$(($(1) % 5))/5 --out $(call photo_fold,$(1))
endef

# On images without labels: seed S has labels for another 64 of the 640 images. All conditions start from the
# checkpoint of its supervised training, in two blocks, with batch norm trained and frozen; those with twice as many labels
# from that of a training with these labels.
# study-semi-settings-S trains the conditions from which the protocol chose the teacher's settings.
SEMI := data/study_semi
STUDY_SEMI = $(OUT)/study/semi
study-semi: $(SEEDS:%=study-semi-%)
	$(call show_study,semi/trained,--curve 64=supervised 128=labels_128)
	$(call show_study,semi/frozen,--curve 64=supervised 128=labels_128)

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
iterations = train_cfg.max_iters=$(1) train_cfg.val_interval=$(1) param_scheduler.1.end=$(1) param_scheduler.1.T_max=$(1)
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
	@$(SEMI_SWEEP) $(3) --seeds $(2) --out $(STUDY_SEMI)/$(1)_$(2) --cfg-options $(call iterations,320) \
	    $(call semi_labels,$(2),64) $(call semi_start,$(2),baseline) $(4)
	$(call keep_study,$(STUDY_SEMI)/$(1)_$(2),semi/$(1),seeds_$(2))
endef

# The same on photographs: of the 128 that seed S trains with, as in study-photos, 50 have labels.
SEMI_PHOTOS = $(OUT)/study/semi_photos
study-semi-photos: $(SEEDS:%=study-semi-photos-%)
	$(call show_study,semi/photos)

study-semi-photos-%: $(SEMI_PHOTOS)/start_%/iter_600.pth
	@$(RUN) tools/sweep.py configs/semi/photos_semi_baseline.py --data-root $(call photo_fold,$*) --scale 0.3 --preset cct \
	    --condition ChannelDropout_0.5:ChannelDropout model.detector.neck.noise.drop_prob=0.5 \
	    --condition supervised $(SUPERVISED) --seeds $* --no-report --out $(SEMI_PHOTOS)/seed_$* \
	    --cfg-options $(call iterations,300) $(call semi_labels,$*,50) load_from=$<
	$(call keep_study,$(SEMI_PHOTOS)/seed_$*,semi/photos,seeds_$*)

.PRECIOUS: $(SEMI_PHOTOS)/start_%/iter_600.pth
$(SEMI_PHOTOS)/start_%/iter_600.pth: | $(READY)
	$(call draw_fold,$*)
	$(call split,$(call photo_fold,$*),50,$*)
	@$(RUN) tools/train.py configs/semi/photos_semi_baseline.py --data-root $(call photo_fold,$*) --resume \
	    --work-dir $(@D) --cfg-options randomness.seed=$* $(SUPERVISED) $(call iterations,600) $(call semi_labels,$*,50)

# Draw $(2) labelled images of $(1) for seed $(3).
define split
	@test -e $(1)/annotations/instances_train.$(3)@$(firstword $(2))_images.json || \
	    $(RUN) tools/split_coco.py $(1)/annotations/instances_train.json --number $(2) --fold $(3)
endef

# Save the results of the study $(1) as docs/study/$(2)/$(3).json.
define keep_study
	@$(RUN) tools/compare.py $(1) --out $(1)/report --force
	@mkdir -p docs/study/$(2)
	@cp $(1)/report/comparison.json docs/study/$(2)/$(3).json
	@cp $(1)/baseline.py docs/study/$(2)/
endef

# The map of the conclusions in all regimes whose seeds are complete: one scale of F-Noise and what it is compared with.
MAPPED := cct_0.3 l2_0.3 mean_normal_0.1 ChannelDropout_0.5 FDrop FeatureDropBlock antithetic supervised labels_128
define draw_map
	@$(RUN) tools/compare.py --regime "embedded shapes=$(call saved,embedded)" \
	    --regime "photographs=$(call saved,photos)" --regime "images without labels=$(call saved,semi/trained)" \
	    --regime "batch norm frozen=$(call saved,semi/frozen)" \
	    --regime "photographs without labels=$(call saved,semi/photos)" \
	    --conditions $(MAPPED) --measures coco/segm_mAP $(ROBUSTNESS) --figure docs/study/map.png
endef

# The files of the study $(1), joined by commas.
saved = $$(ls docs/study/$(1)/seeds_*.json | paste -sd,)
