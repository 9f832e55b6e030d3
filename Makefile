# Everything a fresh machine needs is Python 3.11: `make demo`, then `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
WAV ?=

.PHONY: demo test lint bench install lock clean

demo: install
	$(BIN)/deeptalk demo --out $(OUT) $(if $(WAV),--wav "$(WAV)")

test: install
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

install: $(VENV)/.installed

# torch goes first and by its exact version: a range would let pip fetch a build with gigabytes of CUDA libraries.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DEEPTalk needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The lock is what a resolved environment holds, by version only: no index address, no local path, and not the GPL voices,
# which who wants them installs as the extra voice-gpl.
lock: install
	$(BIN)/python -m pip freeze --exclude-editable --exclude deeptalk --exclude praat-parselmouth | sed 's/+cpu$$//' | grep -v '@' > requirements.lock

clean:
	rm -rf $(VENV) out
