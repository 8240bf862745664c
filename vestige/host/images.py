"""What a run has compiled: the monitor, the host's own run loop, the filter of system calls."""

import os
import sys

from vestige import abi
from vestige.cache_folder import CURE
from vestige.errors import UsageError
from vestige.host import prepared, replay
from vestige.host.loop import runloop
from vestige.host.loop.session import Runner
from vestige.host.messages import tell
from vestige.host.steps import Replayer
from vestige.lang import cache
from vestige.lang.image import Image
from vestige.lang.native import NativeImage
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vestige.host.process import forks
    from vestige.lang.build import Built

    Build = Callable[..., Built]

IMAGES = MONITOR, RUN_LOOP = "monitor", "run-loop"  # names in the cache
FILTER, VIEWER_FILTER = "calls", "viewer-calls"
SOURCES = (
    "monitor",
    "bounds.py",
    "claims.py",
    "devices.py",
    "errors.py",
    "place.py",
    "shapes.py",
    "tables.py",
    "host/loop/runloop.py",
    "host/replay.py",
    "host/process/forks.py",
    "host/loop/bell.py",
    "host/loop/notices.py",
    "host/loop/clocks.py",
    "host/kvm/requests.py",
    "host/backends/io_uring_records.py",
    "host/loop/patience.py",
    "host/jail/calls.py",
    "host/viewer/memory.py",
)


def key() -> str:
    """What both images depend on; looking at it takes a while, so a run does it once."""
    for folder, key_ in prepared.KEYS.items():
        if os.path.isdir(folder):  # noqa: PTH112 - else there is another llvmlite, or none
            return key_
    return cache.key(SOURCES)


def monitor_image(key_: str | None = None) -> Image:
    """The monitor, from the cache or compiled."""
    return cache.image(MONITOR, key_ or key(), _compiled_monitor)


def run_loop_image(key_: str | None = None) -> Image:
    """The run loop, from the cache or compiled."""
    return cache.image(RUN_LOOP, key_ or key(), lambda: _build_run_loop().image)


def call_filter(key_: str | None = None) -> bytes | None:
    """The filter of system calls, from the cache or made; None: it can't be made here."""
    return cache.data(FILTER, key_ or key(), _build_filter)


def viewer_call_filter(key_: str | None = None) -> bytes | None:
    """The same of the viewer's process."""
    return cache.data(VIEWER_FILTER, key_ or key(), lambda: _build_filter(of_viewer=True))


def _build_filter(*, of_viewer: bool = False) -> bytes | None:
    from vestige.host.jail import calls  # noqa: PLC0415 - not where cached

    try:
        return calls.build_for_viewer() if of_viewer else calls.build()
    except UsageError:
        return None


def locations() -> list[str]:
    """The files in the cache that hold the images, or will."""
    key_ = key()
    return [cache.location(name, key_) for name in IMAGES]


def not_cached() -> list[str]:
    """Those of them that a run would compile."""
    key_ = key()
    return [cache.location(name, key_) for name in IMAGES if cache.kept(name, key_) is None]


def ensure() -> None:
    """Compile now what a later run would compile."""
    key_ = key()
    monitor_image(key_)
    run_loop_image(key_)
    call_filter(key_)


def compiler() -> "Build":
    """What compiles, which is not imported where all is cached."""
    try:
        from vestige.lang.build import build  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"the monitor can't be compiled without {error.name}; install it: {sys.executable} -m"
            " pip install llvmlite pyelftools"
        ) from None
    return build


def build_monitor() -> "Built":
    """The monitor compiled anew, with what shows its lines. Raises UsageError."""
    build = compiler()
    from vestige.monitor.core.trap_turn import vcpu_main  # noqa: PLC0415
    from vestige.monitor.core.worker_turn import worker_main  # noqa: PLC0415

    return build([vcpu_main, worker_main], base=abi.IMAGE, runtime="monitor")


def _compiled_monitor() -> Image:
    import vestige.tables  # noqa: F401, PLC0415 - that refuses devices before anything is told

    compiler()  # there is one
    place = cache.unusable()
    often = (
        "once" if place is None else f"as every run does: nothing can be kept in {place}; {CURE}"
    )
    tell(f"compiling the monitor (5 to 15 s), {often}")
    return build_monitor().image


def _build_run_loop() -> "Built":
    from vestige.host.process import forks  # noqa: PLC0415 - not where cached

    entries = [runloop.run, replay.replay, forks.serve]
    return compiler()(entries, base=None, runtime="process")


def runner_of(native: NativeImage) -> Runner:
    """runloop.run of that image, callable by every thread at once."""
    function = native["run"]

    def run(loop: runloop.Loop) -> int:
        return function(loop) or 0  # it always answers: a Leave

    return run


def forker_of(native: NativeImage) -> "Callable[[forks.Forks], bool]":
    """forks.serve of that image."""
    function = native["serve"]

    def serve(of: "forks.Forks") -> bool:
        return bool(function(of))

    return serve


def replayer_of(native: NativeImage) -> Replayer:
    """replay.replay of that image."""
    function = native["replay"]

    def again(first: int, count: int) -> int:
        return function(first, count) or 0

    return again
