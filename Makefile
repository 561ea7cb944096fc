# Two commands: `make book` builds the book, `make test` checks everything. And `make pdf`:
# the book on paper; `make speed`: all benchmarks, on cores that do nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Sums are split by thread: a fixed count makes the executed notebooks repeatable.
export OMP_NUM_THREADS ?= 2
# Large blocks of memory are kept, not returned to the system and zeroed again: see execution.py.
export MALLOC_MMAP_THRESHOLD_ ?= 8589934592
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
export MALLOC_TOP_PAD_ ?= 268435456
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.DEFAULT_GOAL := book
.PHONY: install book pdf speed test lint types unit notebooks browser clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --editable .
	touch $@

book: install
	$(BIN)/robustkit build

pdf: book
	$(BIN)/python book/pdf.py

speed: install
	$(BIN)/python benchmarks/all.py

test: lint types unit notebooks browser

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore tests/book --numprocesses auto --dist worksteal

notebooks: install
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg $(NOTEBOOKS)

browser: install
	$(BIN)/python -m pytest tests/book --numprocesses auto --dist worksteal

clean:
	rm -rf _build runs
