# `make` sets up .venv and runs the main job; `make help` lists the rest.
#
#   CORES=n       cores that Snakemake may use (default: all)
#   ARGS="..."    further arguments to Snakemake, such as -n or -- results/tables/digits.csv
#   CONFIG=file   another configuration, such as config/smoke.yaml
#   PYTHON=path   the interpreter that .venv is made with (default: the first >= 3.11 found)

CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
ARGS ?=
CONFIG ?=
TESTARGS ?=
BENCHMARKS ?=
QUICK ?=
NETWORKS ?=
LOCKARGS ?=
UV_VERSION := 0.13.9

# The configuration says where its results are (`pathvars`); asked when it is needed.
RESULTS = $(shell .venv/bin/python -m perturb results $(if $(CONFIG),"$(CONFIG)"))

# An unpacked artefact says what its results were made with; CONFIG=file replaces that.
GIVEN :=
-include artefact.mk
CONFIGURATION = $(if $(CONFIG),--configfile "$(CONFIG)",$(GIVEN))

# Nothing from the user's own Python may shadow what the lock file pins.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME
VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"

.DEFAULT_GOAL := all
.PHONY: all setup slurm smoke status verify artefact test test-long docs bench networks lint lock help

all: setup ## set up, run the main job, print where the report is
	@$(if $(CONFIG),.venv/bin/python -m perturb check "$(CONFIG)" >/dev/null)
	@REPORT="$(RESULTS)/report.html" bash envs/run.sh \
		$(CONFIGURATION) --cores $(CORES) $(ARGS)

setup: ## create .venv from envs/requirements.txt, unless it is up to date
	@bash envs/install.sh

slurm: ## set up, and the SLURM executor beside it
	@bash envs/install.sh slurm
	@echo "SLURM's executor is set up. Set partition and account in profiles/slurm/config.yaml, then a"
	@echo "first table, in minutes: .venv/bin/snakemake --profile profiles/slurm -- results/tables/digits.csv"

smoke: ## the main job with config/smoke.yaml, in minutes, under results/smoke
	@$(MAKE) --no-print-directory all CONFIG=config/smoke.yaml

status: ## what the runs are doing, from their files, while the workflow runs
	@[ -x .venv/bin/python ] || { echo "perturb: there is no .venv here. Run 'make setup' first." >&2; exit 1; }
	@.venv/bin/python -m perturb.jobs.status $(if $(CONFIG),--configfile "$(CONFIG)")

verify: setup ## recompute the hashes of all results, retrain a sample of runs
	@$(VENV) .venv/bin/snakemake $(CONFIGURATION) --cores $(CORES) $(ARGS) -- verify

artefact: setup ## one archive for a reviewer: code, configuration, results, checksums
	@$(VENV) .venv/bin/snakemake $(CONFIGURATION) --cores $(CORES) $(ARGS) -- artefact

# Two at a time: the tests of SLURM wait most of the time.
PYTEST = $(VENV) .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup ## set up and run the tests (TESTARGS="-k name" for some)
	@$(PYTEST) -m "not long" $(TESTARGS)

test-long: setup ## set up and run the tests that take minutes each (docs/results/tests.md)
	@$(PYTEST) -m long $(TESTARGS)

bench: ## set up, run the benchmarks, write results/bench.md (BENCHMARKS="step" for one, QUICK=1)
	@bash envs/install.sh bench
	@$(VENV) .venv/bin/python -m benchmarks $(if $(QUICK),--quick) $(BENCHMARKS)

networks: setup ## a hundred networks of torchvision and timm, written to docs/networks.md
	@$(VENV) .venv/bin/python -m benchmarks.networks $(NETWORKS)

# Its page "Report" gives way to this checkout's report, where there is one.
docs: setup ## the documentation site, in site/, with the report
	@$(VENV) .venv/bin/zensical build --clean --strict
	@for part in report.html tables figures landscapes; do \
		[ ! -e "$(RESULTS)/$$part" ] || cp -r "$(RESULTS)/$$part" site/ || exit 1; done
	@echo "The site: $(CURDIR)/site/index.html"

lint: setup ## ruff, mypy, snakefmt, snakemake --lint, dead links in docs
	@$(VENV) .venv/bin/ruff check .
	@$(VENV) .venv/bin/ruff format --check .
	@$(VENV) .venv/bin/mypy
	@$(VENV) .venv/bin/snakefmt --check Snakefile workflow
	@$(VENV) .venv/bin/snakemake --lint
	@$(VENV) .venv/bin/zensical build --clean --strict

# uv, because it resolves for every platform and Python at once. It stays out of .venv.
lock: ## resolve pyproject.toml anew into envs/ (LOCKARGS=--upgrade for newer versions)
	@bash envs/install.sh
	@tools="$$(mktemp -d)" && trap 'rm -rf "$$tools"' EXIT && \
		.venv/bin/python -m venv "$$tools" && \
		"$$tools/bin/python" -m pip install --quiet uv==$(UV_VERSION) && \
		PATH="$$tools/bin:$$PATH" .venv/bin/python envs/lock.py $(LOCKARGS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", ($$1 == "all" ? "" : $$1), $$2 }' Makefile
	@sed -n '/^#   [A-Z]/s/^#   //p' Makefile
