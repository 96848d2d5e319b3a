# make quickstart | paper | report | site | test | test-slow | hostile | hostile-small | lint | mutants | docs | notebooks | install | clean
# Everything is installed into one virtual environment. VENV=path uses another one and keeps the torch that it has.
PYTHON ?= python3
VENV ?= .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: quickstart paper report site test test-slow hostile hostile-small lint mutants docs notebooks install clean

quickstart: $(STAMP)
	@$(BIN)/harness run suites/quickstart.yaml

paper: $(STAMP)
	@$(BIN)/harness paper

# docs/report.md with the numbers of results/, and build/report.tex; a PDF of it where latexmk is installed.
report: $(STAMP) .venv-docs/pandoc
	@$(BIN)/harness fill docs/report.j2 -o docs/report.md
	@mkdir -p build
	@sed 's/\.png)/.pdf)/' docs/report.md | .venv-docs/pandoc --standalone --from markdown --output build/report.tex \
		--variable mainfont="Libertinus Serif" --variable fontsize=10pt --variable geometry:margin=2cm
	@if command -v latexmk > /dev/null; then cd build && latexmk -lualatex -quiet report.tex; \
		else echo "wrote build/report.tex; latexmk is not installed, so there is no PDF"; fi

.venv-docs/pandoc: .venv-docs/bin/mkdocs
	@.venv-docs/bin/pip install -q pypandoc_binary==1.17
	@ln -sf "$$(.venv-docs/bin/python -c 'import pypandoc; print(pypandoc.get_pandoc_path())')" $@

# The leaderboard of all committed results.
site: $(STAMP)
	@$(BIN)/harness board -o build/board

# The tests of one file stay in one process, because they share fixtures that are slow to build.
test: $(STAMP)
	@$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP)
	@$(BIN)/pytest -m slow

# Stress and fault injection. HOSTILE_SUITES, HOSTILE_KILLS, HOSTILE_RAY_KILLS, HOSTILE_FLIPS and HOSTILE_RUNS set how much.
hostile: $(STAMP)
	@$(BIN)/pytest -m hostile tests/hostile

# A round of it that takes half a minute, for CI.
hostile-small: $(STAMP)
	@HOSTILE_SUITES=100 HOSTILE_FLIPS=10 $(BIN)/pytest -m hostile tests/hostile \
		-k "mutated_suite or any_override or damaged_images or damaged_archives"

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# A sample of mutants (ten minutes on two cores). MUTANTS="--all" runs every one (hours).
mutants: $(STAMP)
	@$(BIN)/python tests/benchmarks/mutants.py $(MUTANTS)

# The documentation as a site in site/. Its tools need a newer requests than torchattacks allows, so they live apart.
docs: .venv-docs/bin/mkdocs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build -q

.venv-docs/bin/mkdocs:
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install -q mkdocs-material==9.8.2 mkdocstrings-python==2.0.11

# Runs the notebooks of docs/notebooks in an empty folder (a few minutes).
notebooks: $(STAMP)
	@$(BIN)/pytest -m slow tests/test_notebooks.py

install: $(STAMP)

$(STAMP): pyproject.toml third_party/install.py third_party/constraints.txt third_party/learn2learn/backend.py third_party/learn2learn/pyproject.toml
	@$(PYTHON) third_party/install.py $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) .venv-docs site build *.egg-info
