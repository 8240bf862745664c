"""What is in a run's answer, checked: numbers in their bounds, bytes in base64."""

import base64
from typing import Any


def number(told: Any, least: int, most: int) -> int:
    """An integer from `least` to `most`; raises ValueError for anything else."""
    if type(told) is not int or not least <= told <= most:
        raise ValueError
    return told


def data(told: Any) -> bytes:
    """Bytes; raises ValueError or TypeError for anything else."""
    return base64.b64decode(told, validate=True)
