"""Debian's backports: newer packages for the release, by apt's lists of their own.

The machine's own apt need not know of them: they are asked for at the mirror it has Debian from.
Sources: apt.conf(5), apt-get(8) indextargets.
"""

from pathlib import Path

from vestige.errors import UsageError
from vestige.softhost import packages

RELEASE = "bookworm"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT = 120.0  # seconds
_CONFIGURATION = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""


def configuration() -> Path:
    """Of an apt that knows the backports, as they are now, and nothing else; for `packages`.

    Raises UsageError where there are none: on another release, or without a network.
    """
    mirror = _mirror()
    folder = packages.cache_directory("backports")
    file = folder / "apt.conf"
    try:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with packages.locked(folder / "lock"):
            line = f"deb [signed-by={_KEYS}] {mirror} {RELEASE}-backports main\n"
            (folder / "sources.list").write_text(line)
            file.write_text(_CONFIGURATION.format(folder=folder))
            packages.command(["apt-get", "-q", "update"], timeout=_TIMEOUT, configuration=file)
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: {error.strerror}; apt's lists of the backports are kept "
            "here, set XDG_CACHE_HOME to another place if need be"
        ) from None
    return file


def _mirror() -> str:
    """Where the machine has the release from. Raises UsageError if it has it from nowhere."""
    targets = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"]
    for line in packages.command(targets, timeout=_TIMEOUT).splitlines():
        release, _, mirror = line.partition(" ")
        if release == RELEASE:
            return mirror
    raise UsageError(f"apt has no lists of Debian {RELEASE}; run 'apt-get update' as root")
