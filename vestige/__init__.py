"""Vestige: a virtual machine monitor for x86 that emulates no device in the host."""

__version__ = "0.1.0"  # pyproject.toml has it from here


def __getattr__(name: str) -> object:
    """`vestige.Pool`, which few programs need, and which brings much."""
    if name != "Pool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vestige.launcher.pool import Pool  # noqa: PLC0415

    return Pool
