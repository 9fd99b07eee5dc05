# The jobs of the project. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HLMAT := $(BIN)/hlmat
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
LLAMAFACTORY := llamafactory==0.9.5

DATASET ?= shapes
OUT ?= out/$(DATASET)$(if $(SPLIT),-$(SPLIT))
SETTINGS := pyproject.toml constraints.txt

# Flags made from variables: make trajectories DATASET=dis5k DATA_ROOT=/data/hqseg44k SPLIT=val
FLAGS := --dataset $(DATASET) --out "$(OUT)"
FLAGS += $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(if $(SPLIT),--split $(SPLIT))
FLAGS += $(if $(SEGMENTER),--segmenter $(SEGMENTER)) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")
FLAGS += $(if $(POLICY),--policy $(POLICY)) $(if $(LIMIT),--limit $(LIMIT))
FLAGS += $(if $(WORKERS),--workers $(WORKERS)) $(if $(RUNNER),--runner $(RUNNER)) $(ARGS)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

.PHONY: trajectories
trajectories: $(VENV)/.base ## make click trajectories: DATASET= DATA_ROOT= SPLIT= SEGMENTER= OUT= ARGS=
	$(HLMAT) trajectories $(FLAGS)

.PHONY: test
test: $(VENV)/.test ## run the tests
	$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(VENV)/.test ## lint, check types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

.PHONY: install-sam
install-sam: $(VENV)/.base ## add the segmenter "sam": torch and segment-anything
	$(PIP) -e '.[sam]'

.PHONY: clean
clean: ## remove the environment and build files; output is kept
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	$(PIP) -e .
	@touch $@

# LLaMA-Factory goes in without its dependencies: its web UI pins pillow<12, Beam needs >=12.1.1.
# The extra "train" lists what its data and training paths import.
$(VENV)/.test: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) with everything that the tests use ..."
	$(PIP) -e '.[sam,train,dev]'
	$(PIP) --no-deps $(LLAMAFACTORY)
	@touch $@ $(VENV)/.base
