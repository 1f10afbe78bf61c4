# Every verb sets up what it needs. Each is one plain `python -m ...` line, given in the README.
PYTHON  ?= python3
PROFILE ?= cpu
PRESET  ?= small
PAGE    ?= notebooks/07_pose_sliders.ipynb
ARGS    ?=

VENV := .venv
PY   := $(VENV)/bin/python
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup figures notebooks workflow bench test test-browser lint lab app train sample wheel \
  lock clean

help:            ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## make the environment in .venv (the other verbs do it by themselves)

$(READY): pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[notebooks,metrics,data]'
	@touch $@

# What only some verbs need; nothing happens where it is installed already.
$(VENV)/.test: $(READY)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.app: $(READY)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[app]'
	@touch $@

$(VENV)/.workflow: $(READY)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[workflow]'
	@touch $@

$(VENV)/.browser: $(VENV)/.test
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[app,browser]'
	@touch $@

figures: $(READY)    ## run the notebooks into a folder of their own under results/ (PROFILE=smoke|cpu|gpu)
	$(PY) -m gfla reproduce --profile $(PROFILE) $(ARGS)

notebooks: $(READY)  ## run the committed notebooks again, in place, and normalise them
	$(PY) -m gfla notebooks $(ARGS)

workflow: $(VENV)/.workflow  ## street and ablation grid, a job each (ARGS="--dry-run", "street", "--config profile=smoke")
	$(PY) -m snakemake --workflow-profile workflow/profiles/local $(ARGS)

bench: $(READY)      ## time and memory against the literal form, on this device (ARGS="--help" for more)
	$(PY) -m gfla bench $(ARGS)

# Two workers with one thread each: on two cores that is quicker than one worker with two threads.
test: lint           ## style, units, doctests, architecture, and every notebook cell against its output
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadscope tests gfla $(wildcard notebooks) \
	  --nbval --nbval-current-env --nbval-cell-timeout=120 $(ARGS)

# One worker: a browser, a server and a kernel are busy already. GFLA_SCREENSHOTS names a folder to keep.
test-browser: $(VENV)/.browser  ## a reader with a real browser (skipped with the reason where there is none)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -rs tests/browser $(ARGS)

lint: $(VENV)/.test  ## style alone
	$(PY) -m ruff check .

lab: $(READY)        ## read and play: JupyterLab on the notebooks
	$(PY) -m jupyterlab notebooks

app: $(VENV)/.app    ## the pose editor as a page: Voilà on this machine only (PAGE=another.ipynb)
	@test -f $(PAGE) || { echo "make app: no $(PAGE) to serve; name another notebook: make app PAGE=..." >&2; exit 2; }
	$(PY) -m voila --Voila.ip=127.0.0.1 $(PAGE) $(ARGS)

train: $(READY)      ## train a model (PRESET=tiny|small|fashion|market, ARGS="--help" for more)
	$(PY) -m gfla train --preset $(PRESET) $(ARGS)

sample: $(READY)     ## write the small data set of data/sample again
	$(PY) -m gfla sample $(ARGS)

wheel: $(READY)      ## build the package, weights included, into dist/
	$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .

# Every extra first: pip freeze knows only what is installed, and would drop the others' pins.
lock: $(READY)       ## pin what is installed now in constraints.txt, every extra's packages too
	$(PY) -m pip install --quiet --constraint constraints.txt \
	  --editable '.[notebooks,app,browser,data,metrics,detect,test]'
	{ sed -n '/^#/p' constraints.txt; $(PY) -m pip freeze --exclude-editable | sed 's/+cpu//'; } \
	  > constraints.new && mv constraints.new constraints.txt

clean:               ## remove caches and build products; the environment and your runs stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -not -path './$(VENV)/*' -prune -exec rm -rf {} +
