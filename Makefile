# Thin aliases. Each first brings .venv up to date (setup_env.py: minutes the first time, well under a second afterwards).
#   make lab [ARGS=--no-browser]     make test [ARGS="lint core"]     any target: [PYTHON=/path/to/python3.12]

PY := .venv/bin/python
ANY_PYTHON := $(or $(PYTHON),$(shell for p in python3 python3.13 python3.12 python3.11 python; do command -v $$p && break; done))
FIRST_LESSON := $(notdir $(firstword $(sort $(wildcard lessons/[0-9]*.ipynb))))
AS_ROOT := $(shell test "$$(id -u)" = 0 && echo --allow-root)

.PHONY: help environment lab test lessons figures results scoreboard bench gpu lint

help:
	@echo "make lab      set up, then open JupyterLab in lessons/   (ARGS=--no-browser prints the address only)"
	@echo "make test     set up, then run all tests                 (ARGS=\"lint core\" runs only these stages)"
	@echo "make lint     ruff            make lessons  build the notebooks from lessons/source"
	@echo "make figures  all pictures    make results  list the stored studies (ARGS=NAME runs one)     make bench  benchmarks"
	@echo "make scoreboard  the tables of lesson 12 again (an interrupted run goes on)"
	@echo "make gpu      checks and speed on a GPU (says so where there is none)"

environment:
	@command -v "$(ANY_PYTHON)" >/dev/null || { echo "No Python found$(PYTHON:%=, % does not run): install Python 3.11, 3.12" \
		"or 3.13, then run the same command again." >&2; exit 1; }
	@"$(ANY_PYTHON)" setup_env.py

lab: environment
	@echo "Starting JupyterLab in lessons/ (about 5 seconds). Its address follows; press Ctrl-C here to stop it."
	@$(PY) -m jupyterlab --ServerApp.root_dir=lessons --LabApp.default_url="/lab$(FIRST_LESSON:%=/tree/%)" --log-level=WARN $(AS_ROOT) $(ARGS)

test: environment
	@$(PY) tests/run.py $(ARGS)

lessons: environment
	$(PY) -m difflm_core.classroom.build $(ARGS)

figures: environment
	$(PY) -m difflm_core.classroom.figures $(ARGS)

results: environment
	$(PY) -m difflm_core.studies $(ARGS)

scoreboard: environment
	$(PY) -m difflm_core.studies scoreboard latents_table text_scoreboard

bench: environment
	$(PY) -m pytest tests/benchmarks -s $(ARGS)

gpu: environment
	$(PY) tests/gpu.py $(ARGS)

lint: environment
	$(PY) -m ruff check . --output-format=concise $(ARGS)
