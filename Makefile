# The commands a newcomer needs. Each builds the environment (.venv) first if it is missing.
PYTHON_ENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick check clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: .venv/.ready ## build the environment in .venv (no network the second time)

demo: .venv/.ready ## the whole idea in a few minutes: data, two stages, scores, a served answer
	.venv/bin/icdtune demo

test: .venv/.ready ## every test, with real training and a real vLLM server
	$(PYTHON_ENV) -m pytest -m "not slow" -n 2 --dist loadfile
	$(PYTHON_ENV) -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder

test-quick: .venv/.ready ## the tests that need no training and no server
	$(PYTHON_ENV) -m pytest -m "not slow" -n 2 --dist loadfile

check: .venv/.ready ## style and types
	$(PYTHON_ENV) -m ruff check .
	$(PYTHON_ENV) -m ruff format --check .
	$(PYTHON_ENV) -m mypy

clean: ## remove what the demo wrote
	rm -rf outputs/demo

.venv/.ready: pyproject.toml requirements/constraints.txt requirements/overrides-cpu.txt requirements/setup.sh
	@requirements/setup.sh
