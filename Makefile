# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-slow test-vllm check bench docs clean
.DEFAULT_GOAL := demo

$(VENV)/.base: pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh .ci/install.sh "$(VENV)" "[engine,model]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh .ci/install.sh "$(VENV)" "[dev]"
	@touch $(VENV)/.base $@

demo: $(VENV)/.base          ## render images with planted truth, curate and caption them, score every filter, search
	@$(BIN)/flywheel demo

test: $(VENV)/.dev           ## the ordinary tests: under 15 minutes on 2 cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.dev      ## kill tests, Ray, Prefect: under 45 minutes
	@$(BIN)/python -m pytest -m slow

.venv-vllm/.done: .ci/install-vllm.sh
	@PYTHON="$(PYTHON)" sh .ci/install-vllm.sh .venv-vllm
	@touch $@

test-vllm: $(VENV)/.dev .venv-vllm/.done ## captions through a real vLLM on loopback, killed and restarted
	@$(BIN)/python -m pytest -m vllm tests/vllm

check: $(VENV)/.dev          ## format, lint, types, layers, generated docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m docs.generate --check

bench: $(VENV)/.dev          ## speed, memory and kill counts; results go to benchmarks/results
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.dev           ## write the generated pages again
	@$(BIN)/python -m docs.generate

clean:
	rm -rf $(VENV) build *.egg-info demo workspace
