"""What a run has compiled: the monitor, the run loop, and the filter of system calls."""

from vestige.host import images
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.lang import cache
from vestige.lang.image import Image
from vestige.lang.native import NativeImage


class Compiled:
    """Runs leave it as it is. `filter`: None where none can be made here."""

    __slots__ = ("code", "filter", "forker", "replayer", "runner")

    def __init__(self, monitor: Image, run_loop: Image, filter_: bytes | None) -> None:
        self.code = MonitorCode(monitor)
        native = NativeImage(run_loop)
        self.runner, self.replayer = images.runner_of(native), images.replayer_of(native)
        self.forker = images.forker_of(native)
        self.filter = filter_


def compiled_here(key: str | None = None) -> Compiled:
    """All of it, from the cache or compiled."""
    key = key or images.key()
    return Compiled(images.monitor_image(key), images.run_loop_image(key), images.call_filter(key))


def kept_here(key: str) -> Compiled | None:
    """All of it, from the cache; None: something is to be compiled."""
    monitor, run_loop = (cache.kept(name, key) for name in images.IMAGES)
    if monitor is None or run_loop is None:
        return None
    return Compiled(monitor, run_loop, images.call_filter(key))
