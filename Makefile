# make quickstart | paper | test | test-slow | hostile | lint | install | clean
# Everything lives in one virtual environment; VENV=path uses another one (a torch that it already has is kept).
PYTHON ?= python3
VENV ?= .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: quickstart paper test test-slow hostile lint install clean

quickstart: $(STAMP)
	@$(BIN)/harness run suites/quickstart.yaml

paper: $(STAMP)
	@$(BIN)/harness paper

# A file of tests stays in one process: its tests share what is slow to make.
test: $(STAMP)
	@$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP)
	@$(BIN)/pytest -m slow

# Kills, damage, full disks, mutated suites; HOSTILE_SUITES, HOSTILE_KILLS, HOSTILE_RAY_KILLS, HOSTILE_FLIPS, HOSTILE_RUNS
# say how much of each
hostile: $(STAMP)
	@$(BIN)/pytest -m hostile tests/hostile

lint: $(STAMP)
	@$(BIN)/ruff check .

install: $(STAMP)

$(STAMP): pyproject.toml third_party/install.py third_party/constraints.txt third_party/learn2learn/backend.py third_party/learn2learn/pyproject.toml
	@$(PYTHON) third_party/install.py $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
