# Two commands matter: `make bench` and `make test`. Both make .venv and install what they need.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RESULTS ?= results/quick
ARGS ?=

.PHONY: help install bench test check kernels docs gpu-reference perf-check reference sweep report wheel-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv and install the pinned dependencies into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

bench: $(STAMP) ## both rivals and the controls on the embedded data set: table, figures, report (minutes)
	$(BIN)/python -m bench experiment=quick $(ARGS)

sweep: $(STAMP) ## scores over superpixel sizes and seeds; ARGS="dataset=folder dataset.root=..." for your images
	$(BIN)/python -m bench experiment=superpixel_sweep $(ARGS)

report: $(STAMP) ## tables, figures and report again from the runs in RESULTS=results/quick
	$(BIN)/python -m bench report results_dir=$(RESULTS)

gpu-reference: $(STAMP) ## on a machine with a GPU, in ten minutes: its tests, the doctor, both sides at three sizes
	$(BIN)/python -m pytest -n 0 -m gpu tests
	$(BIN)/python -m bench doctor
	$(BIN)/python -m bench experiment=gpu_reference results_dir=results/gpu $(ARGS)

perf-check: $(STAMP) ## are the steps from image to graph as fast beside their rivals as when results/reference was made?
	$(BIN)/python -m bench perf steps=slic,features,texture,adjacency,views sizes=1024 repeats=3 memory=false \
		against=results/reference/perf/perf.csv

reference: $(STAMP) ## every table of results/reference again, by this commit (a day); DATA=folder of the sets, ARGS=--list
	$(BIN)/python tests/support/make_reference.py $(if $(DATA),--data $(DATA)) $(ARGS)

docs: $(STAMP) ## settings, columns, and the numbers of README and docs/results.md from results/reference
	$(BIN)/python -m bench.tables.explain
	cd tests && ../$(BIN)/python -m support.settings_page
	cd tests && ../$(BIN)/python -m support.fill_docs

check: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check bench models tests
	$(BIN)/ruff format --check bench models tests
	$(BIN)/mypy

kernels: $(STAMP)
	cd tests && ../$(BIN)/python -m support.kernels

test: $(STAMP) ## ruff, mypy, pytest
	$(MAKE) --no-print-directory -j 2 check kernels
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

wheel-check: ## build the wheel, install it into an empty environment (6 GB), run it outside the checkout
	$(PYTHON) tests/support/wheel_check.py $(ARGS)

clean: ## remove .venv and caches; results stay
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
