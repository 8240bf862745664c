"""When a file was changed last, in words."""

import time


def in_words(changed: int) -> str:
    """Of so many ns of the kernel's clock."""
    seconds, rest = divmod(changed, 1_000_000_000)
    try:
        return time.strftime(f"on %Y-%m-%d at %H:%M:%S.{rest:09}", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{changed} ns after 1970"
