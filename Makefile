# Vestige from nothing on a fresh Debian 12 to 14: `make demo`, `make test`. `make help` lists the
# rest.

PYTHON ?= python3
PYTEST_ARGS ?=
SECONDS ?=
COUNT ?=
SEED ?=

# What the tool, its tests and the demo run: the software host and the tests' second opinion
# (QEMU), ACPI's and ELF's own tools, the makers of disk images, and what moves and judges frames.
DEBIAN_PACKAGES = qemu-system-x86 seabios acpica-tools binutils debootstrap e2fsprogs fdisk gdb iperf3 iproute2 passt
# What the window of demo-install is made of, typed at and read with.
WINDOW_PACKAGES = xvfb tigervnc-viewer xdotool tesseract-ocr

AS_ROOT = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BIN = .venv/bin
PACKAGES_STAMP = .venv/.debian-packages
WINDOW_STAMP = .venv/.window-packages
VENV_STAMP = .venv/.stamp

.DELETE_ON_ERROR:
.PHONY: help setup demo demo-nvme demo-debian debian-image demo-pc demo-clone demo-install demo-efiemu demo-efiemu-nested test test-slow lint format fuzz bench clean distclean

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.* ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# Byte code is kept even where PYTHONDONTWRITEBYTECODE is set: in the software host, compiling every
# module at every start takes seconds. So is the monitor, which each guest and efiemu.efi needs.
setup: $(VENV_STAMP) ## Install what is missing; leaves the tool at .venv/bin/vestige
	@$(BIN)/python -m compileall -q vestige
	@$(BIN)/vestige build > /dev/null

demo: setup ## Boot Debian with its root on an IDE disk that exists only inside the guest
	@$(BIN)/python -m examples.demo.driver

demo-nvme: setup ## The same, the disk an NVMe controller that only the monitor drives
	@$(BIN)/python -m examples.demo_nvme.driver

demo-debian: setup ## A complete Debian: its login prompt, behind virtio and PCIe alone
	@$(BIN)/python -m examples.debian.driver --boot

debian-image: setup ## The image of it, and the line that boots it, without booting (uses sudo)
	@$(BIN)/python -m examples.debian.driver

demo-pc: setup ## A PC: SeaBIOS, GRUB and Debian, used by its serial port, keyboard and screen
	@$(BIN)/python -m examples.demo_pc.driver

demo-clone: setup ## A Debian with NumPy, frozen once: twenty clones of it compute and write
	@$(BIN)/python -m examples.demo_clone.driver

demo-install: setup $(WINDOW_STAMP) ## Debian's installer, from a disc, in a window: its first three screens
	@$(BIN)/python -m examples.demo_install.driver

demo-efiemu: setup ## A stock VM, taken over by what its firmware loads: Debian on an IDE disk
	@$(BIN)/python -m examples.demo_efiemu.driver

demo-efiemu-nested: setup ## The same in a KVM that nests, its NVMe controller by VFIO: on Debian 12
	@$(BIN)/python -m examples.demo_efiemu.nested

test: setup ## Run the test suite (PYTEST_ARGS="-k ide" and the like)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

test-slow: setup ## Run the tests that take many minutes each
	@$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## Rewrite the sources in the project's style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

FUZZERS = $(subst /,.,$(basename $(wildcard tests/fuzz_*.py tests/*/fuzz_*.py tests/*/*/fuzz_*.py)))
FUZZ_LIMIT = $(if $(SECONDS),--seconds $(SECONDS)) $(if $(COUNT),--count $(COUNT)) \
	$(if $(SEED),--seed $(SEED))

fuzz: setup ## Run each fuzzer for SECONDS=60 or COUNT=20000 (its own choice without either)
	@set -e; for fuzzer in $(FUZZERS); do \
		echo "fuzz: $$fuzzer"; $(BIN)/python -m $$fuzzer $(FUZZ_LIMIT); \
	done

# More than setup: a compiler of C for the guest's program, and what draws the plots.
BENCH_STAMP = .venv/.bench-stamp
BENCHMARKS = $(subst /,.,$(basename $(filter-out %/__init__.py %_report.py,$(wildcard bench/*.py))))

bench: setup $(BENCH_STAMP) ## Take the measurements that speed claims rest on
	@set -e; for benchmark in $(BENCHMARKS); do \
		echo "bench: $$benchmark"; $(BIN)/python -m $$benchmark; \
	done

$(BENCH_STAMP): pyproject.toml $(PACKAGES_STAMP) $(VENV_STAMP)
	@gcc --version >/dev/null || { echo "bench: no gcc; install it" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable '.[bench]'
	@touch $@

clean: ## Remove what was built; Debian's packages stay in the user's cache
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

distclean: clean ## Remove the tool's Python environment too
	rm -rf .venv

# editable_mode=compat: a path in a file. The default is a finder that imports pathlib and more at
# every start of Python, which is most of the time it takes.
$(VENV_STAMP): pyproject.toml bin/vestige $(PACKAGES_STAMP)
	@echo "setup: Python packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable '.[dev]'
	@touch $@

# Of a shell: $$missing are those of the packages that are not installed; installs those.
find_missing = missing=$$(for package in $(1); do \
		dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null \
			| grep -qx installed || echo $$package; \
	done)
install_missing = echo "setup: Debian packages" $$missing; \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install --yes --no-install-recommends $$missing >/dev/null

$(WINDOW_STAMP): Makefile $(PACKAGES_STAMP) $(VENV_STAMP)
	@$(call find_missing,$(WINDOW_PACKAGES)); \
	if [ -n "$$missing" ]; then $(AS_ROOT) apt-get -qq update; $(install_missing); fi
	@touch $@

# Asks for root's rights only if something is missing. Who is root anyway gets new lists of
# packages: guests are made of packages that are downloaded, and old lists name files long gone.
$(PACKAGES_STAMP): Makefile
	@$(call find_missing,$(DEBIAN_PACKAGES)); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3 python3-venv"; \
	if [ -n "$$missing" ] || [ "$$(id -u)" = 0 ] || ! apt-cache show linux-image-amd64 >/dev/null 2>&1; then \
		echo "setup: apt-get update"; \
		$(AS_ROOT) apt-get -qq update; \
	fi; \
	if [ -n "$$missing" ]; then $(install_missing); fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than 3.11; give another: make PYTHON=python3.11" >&2; exit 2; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@touch $@
