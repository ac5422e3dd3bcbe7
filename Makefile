# Everything needs only Python 3.11 or newer, git and make; the first command sets up .venv.

PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.13,\
	$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
# A default editable install would hide the plugin from twistd.
INSTALL := $(BIN)/pip install -q --disable-pip-version-check --config-settings editable_mode=compat -e

# Most of these start the gateway as a process, and wait more than they compute.
WHOLE := $(patsubst tests/%.py,tests.%,$(wildcard tests/test_*.py))
HOSTILE := tests.hostile tests.soak
TOOLS := tests.tools
# Tests that use programs of other packages live apart, so that the rest runs anywhere.
EXTERNAL := tests.external
UNIT := $(filter-out $(HOSTILE) $(TOOLS) $(EXTERNAL),\
	$(patsubst tests/%/__init__.py,tests.%,$(wildcard tests/*/__init__.py)))
TRIAL = $(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial.$@
# These know no sockets: every branch of them is to be tested.
PURE := xzgw/wire/*,xzgw/core/session.py,xzgw/core/session_types.py

.PHONY: demo run bench test lint whole hostile tools unit external screenshots fuzz soak clean

demo: $(VENV)/run.stamp  ## gateway, echo server and a simulated device, for a look at the whole
	$(BIN)/python -m xzgw.tools.demo

run: $(VENV)/run.stamp  ## the gateway as configured; on an echo server if no chat server is
	$(BIN)/python -m xzgw.tools.run

bench: $(VENV)/run.stamp  ## how many devices this machine carries; ARGS=--ramp finds the most
	$(BIN)/python -m xzgw.tools.bench $(ARGS)

test: lint
	$(MAKE) --jobs=2 --output-sync=target --keep-going whole hostile tools unit external

lint: $(VENV)/test.stamp
	$(BIN)/ruff check xzgw tests twisted
	$(BIN)/ruff format --check xzgw tests twisted
	$(BIN)/mypy

unit: $(VENV)/test.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial --temp-directory=$(VENV)/trial.$@ $(UNIT)
	$(BIN)/coverage report --skip-covered --show-missing --fail-under=100 --include='$(PURE)'
	$(BIN)/coverage report --skip-covered | tail -n 1

whole: $(VENV)/test.stamp
	$(TRIAL) $(WHOLE)

hostile: $(VENV)/test.stamp
	$(TRIAL) $(HOSTILE)

tools: $(VENV)/test.stamp
	$(TRIAL) $(TOOLS)

external: $(VENV)/test.stamp
	@for program in mosquitto_pub mosquitto_sub haproxy openssl tshark chromium chromedriver; do \
		PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || missing="$$missing $$program"; \
	done; \
	if [ -z "$$missing" ]; then \
		$(TRIAL) $(EXTERNAL); \
	else \
		echo "*** tests/external NOT RUN, not installed:$$missing" \
			'(Debian: apt-get install mosquitto-clients haproxy openssl tshark' \
			'chromium chromium-driver)'; \
	fi

screenshots: $(VENV)/test.stamp  ## docs/images, from the running dashboard; needs chromium
	$(TRIAL) tests.external.screenshots

SECONDS := 600

fuzz: $(VENV)/test.stamp  ## random input for everything that reads bytes from outside; SECONDS=n
	nice -n 10 $(BIN)/python -m tests.fuzz.run --seconds $(SECONDS)

MINUTES := 30

soak: $(VENV)/test.stamp  ## devices, servers and callers come and go; whether all is given back; MINUTES=n
	nice -n 5 $(BIN)/python -m tests.soak.run --minutes $(MINUTES)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .coverage _trial_temp*

$(BIN)/pip:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: setup.cfg pyproject.toml | $(BIN)/pip
	$(INSTALL) .
	@touch $@

$(VENV)/test.stamp: setup.cfg pyproject.toml | $(BIN)/pip
	$(INSTALL) '.[test]'
	@touch $@ $(VENV)/run.stamp
