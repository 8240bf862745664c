"""Every statement about the IDE is made twice: of the model in CPython, and compiled."""

from collections.abc import Callable

import pytest

from tests.devices.piix3_ide.compiled import compiled
from tests.devices.piix3_ide.rig import Calls, Interpreted, Rig

MakeRig = Callable[..., Rig]


@pytest.fixture(params=["CPython", "compiled"])
def make_rig(request: pytest.FixtureRequest) -> MakeRig:
    """Makes a Rig, with a Rig's arguments."""
    calls: Calls = Interpreted() if request.param == "CPython" else compiled()

    def make(*arguments: object, **options: object) -> Rig:
        return Rig(*arguments, calls=calls, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """One writable disk of 4,096 sectors on the primary channel."""
    return make_rig()
