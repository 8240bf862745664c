"""Other suites of Debian's archive than the machine's: the release's backports, or later ones.

By apt's lists of their own, which the machine's apt need not know of: they are asked for at the
mirror it has Debian from. Sources: apt.conf(5), apt_preferences(5), apt-get(8) indextargets.
"""

from pathlib import Path
from typing import NamedTuple

from vestige import cache_folder, trust
from vestige.errors import UsageError
from vestige.softhost import packages

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT = 120.0  # seconds
_CONFIGURATION = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "{folder}/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""
_ARCHITECTURE = 'APT::Architecture "{0}";\nAPT::Architectures {{ "{0}"; }};\n'
# Backports and others don't count as candidates otherwise where there is an older version.
_PREFERENCES = "Package: *\nPin: release c=main\nPin-Priority: 500\n"


class Release(NamedTuple):
    """`codename` is such as bookworm; `mirror` is the address the machine has it from."""

    codename: str
    mirror: str


def release() -> Release:
    """The machine's own. Raises UsageError if apt has no lists of any."""
    targets = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"]
    ours = ["Label: Debian", "Created-By: Packages"]
    for line in packages.command([*targets, *ours], timeout=_TIMEOUT).splitlines():
        codename, _, mirror = line.partition(" ")
        if "-" not in codename:  # not its updates
            return Release(codename, mirror)
    raise UsageError("apt has no lists of any Debian release; run 'apt-get update' as root")


def backports() -> str:
    """The suite of the machine's release that has newer packages for it."""
    return f"{release().codename}-backports"


def configuration(*names: str, architecture: str = "") -> Path:
    """Of an apt that knows these suites, as they are now, and nothing else; for `packages`.

    `architecture` is Debian's name for one, as i386; without it, the machine's own.

    Of a package that several have, the newest counts. Raises UsageError where a suite isn't there,
    or without a network.
    """
    mirror = release().mirror
    name = f"suites/{'-'.join([*names, *filter(None, [architecture])])}"
    folder = packages.cache_directory(name)
    file = folder / "apt.conf"
    try:
        for each in ("lists/partial", "cache/archives/partial"):
            cache_folder.make(f"{name}/{each}")
        with packages.locked(folder / "lock"):
            # apt verifies lists when it fetches them, not those that it finds here.
            packages.require_trusted(folder, name)
            lines = [f"deb [signed-by={_KEYS}] {mirror} {suite} main\n" for suite in names]
            cache_folder.write(name, "sources.list", "".join(lines).encode())
            cache_folder.write(name, "preferences", _PREFERENCES.encode())
            text = _CONFIGURATION.format(folder=folder)
            if architecture:
                text += _ARCHITECTURE.format(architecture)
            cache_folder.write(name, file.name, text.encode())
            packages.command(["apt-get", "-q", "update"], timeout=_TIMEOUT, configuration=file)
    except trust.UntrustedError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}; remove {folder} to have apt's lists fetched anew"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: {error.strerror}; apt's lists of other suites are kept "
            "here, set XDG_CACHE_HOME to another place if need be"
        ) from None
    return file
