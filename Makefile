# Everything from nothing, with Python 3.11, 3.12 or 3.13 and make.

PORT = 8000
SIMULATOR_PORT = 8900
ARGS =
ONLY =
SECONDS = 60
SEED = 1
ALL =

VENV = .venv
# The first of these that runs and has the right version makes the virtual environment.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
		&& echo $$python && break; done)

.PHONY: run test bench chaos lint screenshots clean

run: $(VENV)/installed
	@exec $(VENV)/bin/python manage.py up --demo --port $(PORT) --simulator-port $(SIMULATOR_PORT) $(ARGS)

# Two processes side by side, for most tests wait; then the browser's, each of which wants the machine to itself.
test: $(VENV)/installed-dev
ifdef ARGS
	$(VENV)/bin/python -m pytest $(ARGS)
else
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/browser
	$(VENV)/bin/python -m pytest -rs tests/browser
endif

bench: $(VENV)/installed-dev
	$(VENV)/bin/python -m tests.bench $(if $(ONLY),--only $(ONLY))

chaos: $(VENV)/installed-dev
	$(VENV)/bin/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

screenshots: $(VENV)/installed-dev
	$(VENV)/bin/python -m tests.browser.screenshots $(if $(ALL),--all $(ALL))

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12 or 3.13 is needed, and none is in PATH" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
