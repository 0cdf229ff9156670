# `make help` lists what can be made. Every target makes .venv first, where it is not there.
PYTHON ?= python3
OUT ?= work_dirs
SHAPES := data/shapes
READY := .venv/ready
UPSTREAM := .venv-upstream
RUN := .venv/bin/python

.DELETE_ON_ERROR:
.PHONY: help setup demo pictures check-configs test test-slow test-upstream lint format

help:
	@echo 'make demo           train Mask R-CNN with and without F-Noise on the embedded data, compare, draw (about 9 minutes)'
	@echo 'make test           the tests (about 8 minutes)'
	@echo 'make test-slow      the tests that take minutes, make demo among them (about 20 minutes)'
	@echo 'make test-upstream  the tests with the original mmengine, mmcv and mmdet, in .venv-upstream'
	@echo 'make lint           ruff and mypy'
	@echo 'make format         let ruff format the code'
	@echo 'make pictures       make the demo, and copy its pictures to docs/pictures, where the README shows them'
	@echo 'make check-configs  check F-Noise on every config that mmdet ships; the table goes to docs/configs.md (half an hour or so)'
	@echo 'make setup          make .venv only (the first time 5 to 20 minutes; all other targets do it by themselves)'
	@echo
	@echo 'PYTHON=python3.11 names the Python to make .venv with, OUT=DIR where make demo writes (work_dirs).'

setup: $(READY)

$(READY): requirements.txt pyproject.toml tools/setup_env.py
	@$(PYTHON) tools/setup_env.py
	@touch $@

# The demo: data, two trainings, their comparison, and what both detect on the test images.
# A training that was interrupted goes on from its last epoch.
demo: $(OUT)/demo/losses.png $(OUT)/demo/detections_baseline/finished $(OUT)/demo/detections_fnoise/finished
	@echo
	@cat $(OUT)/demo/comparison.md
	@echo
	@echo 'look at:'
	@echo '  losses         $(OUT)/demo/losses.png'
	@echo '  feature maps   $(OUT)/demo_fnoise/*/vis_data/vis_image/'
	@echo '  detections     $(OUT)/demo/detections_baseline/vis/ and detections_fnoise/vis/'
	@echo '  TensorBoard    .venv/bin/tensorboard --logdir $(OUT)'

$(SHAPES): | $(READY)
	@echo 'the embedded data set: 10 seconds'
	@$(RUN) tools/make_shapes.py --out $@

$(OUT)/demo_%/finished: | $(READY) $(SHAPES)
	@echo 'training configs/demo_$*.py: about 4 minutes on two cores'
	@$(RUN) tools/train.py configs/demo_$*.py --work-dir $(@D) --resume
	@touch $@

$(OUT)/demo/losses.png: $(OUT)/demo_baseline/finished $(OUT)/demo_fnoise/finished
	@$(RUN) tools/compare.py $(^D) --out $(@D)

$(OUT)/demo/detections_%/finished: $(OUT)/demo_%/finished
	@$(RUN) tools/infer.py configs/demo_$*.py $$(cat $(<D)/last_checkpoint) $(SHAPES)/test --out-dir $(@D)
	@touch $@

pictures: demo
	@mkdir -p docs/pictures
	@cp $(OUT)/demo/losses.png docs/pictures/
	@cp $(OUT)/demo_fnoise/*/vis_data/vis_image/feature_maps_train_480.png docs/pictures/feature_maps.png
	@for i in 1 2 3; do for run in baseline fnoise; do \
	    cp $(OUT)/demo/detections_$$run/vis/00000$$i.png docs/pictures/$${run}_$$i.png; done; done

check-configs: $(READY)
	@$(RUN) tools/check_configs.py --workers 2 --out $(OUT)/check_configs
	@cp $(OUT)/check_configs/table.md docs/configs.md

test: $(READY)
	@$(RUN) -m pytest

test-slow: $(READY)
	@$(RUN) -m pytest -m slow

# In an environment of its own, where torch is old enough for the original distributions.
test-upstream: $(UPSTREAM)/ready
	@$(UPSTREAM)/bin/python -m pytest

$(UPSTREAM)/ready: requirements-upstream.txt pyproject.toml tools/setup_env.py
	@$(PYTHON) tools/setup_env.py --upstream
	@touch $@

lint: $(READY)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(READY)
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .
