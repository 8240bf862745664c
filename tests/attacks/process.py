"""What a subverted machine's process does behind its lock: functions that CPU 0's thread calls.

No module can be imported there, and no file opened: all is here already.
"""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence

from tests import compiling
from vestige.host.loop.runloop import Loop
from vestige.host.loop.session import Runner
from vestige.host.process.link import PLACE, Kind
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u64

SYS_CLOSE, SYS_SENDTO, SYS_SENDMSG = 3, 44, 46
HEADER = 16  # bytes of a struct cmsghdr
RIGHTS = socket.SOL_SOCKET.to_bytes(4, "little") + socket.SCM_RIGHTS.to_bytes(4, "little")
LARGEST = 32 << 10
FORGED = b"\x1b[31mforged\x07\nvestige: forged\r\x00\xff"

_holding = ctypes.PyDLL(None)  # its calls hold the interpreter's lock


def runner(honest: Runner, name: str, numbers: Sequence[int]) -> Runner:
    """In the place of `honest`, which it is until the guest runs."""
    attack: Callable[..., object] = globals()[name]

    def run(loop: Loop) -> int:
        if loop.boots and not loop.first and not loop.in_monitor:
            attack(*numbers)
        return honest(loop)

    return run


def _send(kind: int, data: bytes = b"") -> int:
    """A message of the link's."""
    return _send_raw(bytes((kind,)) + data)


def _send_raw(message: bytes) -> int:
    return syscall(SYS_SENDTO, PLACE, _address(message), len(message), 0, 0, 0)


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _stay() -> None:
    """Never go on, and let no other thread of Python's."""
    while True:
        _holding.poll(0, 0, -1)


# ---- system calls -----------------------------------------------------------------------------


def call(number: int, *arguments: int) -> None:
    """Make one, whatever it is."""
    syscall(number, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])


# ---- messages of the link ---------------------------------------------------------------------


PIECE = 1000
FLOOD, LIES = 2.0, 3.0  # seconds: more than the timeout of the run, or than it is asked for


def send_many(message: u64, length: u64) -> None:
    """Typed Python, to be faster than who reads."""
    for _ in range(PIECE):
        syscall(SYS_SENDTO, PLACE, message, length, 0, 0, 0)


_send_many = compiling.native([send_many])["send_many"]


def flood(kind: int, size: int) -> None:
    """Messages for a long time, whatever is heard; then be gone."""
    message = bytes((kind,)) + b"A" * size
    end = time.monotonic() + FLOOD
    while time.monotonic() < end:
        _send_many(_address(message), len(message))
    os._exit(0)


def forge() -> None:
    """Lines with whatever a terminal does, some of it as if it was a line of ours; then be over."""
    for kind in (Kind.LINES, Kind.LOG, Kind.LINES):
        _send(kind, FORGED)
    _send(Kind.LINES, b"\xff" * LARGEST)
    _send(Kind.FAILED, FORGED)
    os._exit(0)


def odd() -> None:
    """Messages of odd lengths and of kinds there are not, of the other side too."""
    for kind in range(256):
        if kind not in (Kind.OVER, Kind.FAILED, Kind.REFUSED):
            _send(kind)
            _send(kind, b"\xff")
            _send(kind, b"\xff" * 7)
    _send(Kind.FAILURES, bytes(range(256)) * 16)
    over(0)


def over(reset: int) -> None:
    """Be over three times: the first counts."""
    for data in (bytes((reset,)), b"\1", b"\0"):
        _send(Kind.OVER, data)
    _send(Kind.FAILED, b"not so")
    os._exit(0)


def talk(lines: int) -> None:
    """Tell so many, and reset."""
    for _ in range(lines):
        _send(Kind.LINES, b"vestige: a line")
    over(1)


def refuse() -> None:
    """Say that the user asked for something wrong, when the guest is running."""
    _send(Kind.REFUSED, FORGED)
    os._exit(0)


def counters(size: int) -> None:
    """Statistics of this size, which are none."""
    while size > 0:
        size -= len(data := b"\x00\xff\x1b\n" * 4096)
        _send(Kind.COUNTERS, data)
    over(0)


def lie() -> None:
    """For a long time answers to what nobody has asked, in pieces of all kinds; then be gone."""
    end = time.monotonic() + LIES
    while time.monotonic() < end:
        for part in (b"", b"\0", b"\1", b"\2", b"\xff"):
            _send(Kind.ANSWER, part + b'{}}\n{"answer": "forged"}\n' + FORGED)
    os._exit(0)


def empty() -> None:
    """A message without a kind, and go on."""
    _send_raw(b"")
    _stay()


def hang_up() -> None:
    """Close the link, and go on."""
    syscall(SYS_CLOSE, PLACE, 0, 0, 0, 0, 0)
    _stay()


def stay() -> None:
    """Hear no STOP."""
    _stay()


def leave(status: int) -> None:
    """End without a word."""
    os._exit(status)


def crash() -> None:
    """Read where nothing is."""
    ctypes.string_at(8)


class _Vector(Struct):
    """struct iovec."""

    base: u64
    length: u64


class _Message(Struct):
    """struct msghdr."""

    name: u64
    name_length: u64
    vectors: u64
    count: u64
    control: u64
    control_length: u64
    flags: u64


def descriptors(kind: int, each: int, messages: int) -> None:
    """Messages with so many descriptors each; then be over."""
    rights = (HEADER + 4 * each).to_bytes(8, "little") + RIGHTS + each * PLACE.to_bytes(4, "little")
    text = bytes((kind,))
    vector = _Vector(base=_address(text), length=1)
    message = _Message(vectors=address_of(vector), count=1)
    message.control, message.control_length = _address(rights), HEADER + 4 * each
    for _ in range(messages):
        call(SYS_SENDMSG, PLACE, address_of(message))
    over(0)


SYS_FALLOCATE, KEEP_SIZE = 285, 1


def take_room(size: int) -> None:
    """For all files there are, behind their ends; then be over."""
    for descriptor in range(PLACE + 1, 100):
        call(SYS_FALLOCATE, descriptor, KEEP_SIZE, 0, size)
    over(0)


# ---- without the filter: what the other layers keep in ----------------------------------------


def _tried(what: str, function: Callable[[], object]) -> None:
    """Tell what came of it."""
    try:
        found = function()
    except OSError as error:
        found = f"errno {error.errno}"
    sys.stderr.write(f"{what}: {found}\n")


def _connected() -> str:
    with socket.socket() as end:
        end.settimeout(5)
        end.connect(("1.1.1.1", 53))
    return "connected"


def _listening() -> str:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        end.listen()
    return "listening"


def _answer(number: int, *arguments: int) -> int:
    answer = syscall(number, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    if answer < 0:
        raise OSError(-answer, "")
    return answer


def open_doors() -> None:
    """Try what a filter would not let this process try; tell, and be over."""
    _tried("names", lambda: os.listdir("/"))  # noqa: PTH208 - it fails at once
    _tried("file", lambda: os.open("/etc/passwd", os.O_RDONLY))
    _tried("device", lambda: os.open("/dev/kvm", os.O_RDWR))
    _tried("own", lambda: os.open("/proc/self/mem", os.O_RDWR))
    _tried("above", lambda: os.open("../../../../etc/passwd", os.O_RDONLY))
    _tried("new", lambda: os.open("/x", os.O_RDWR | os.O_CREAT))
    _tried("folder", lambda: os.mkdir("/x"))  # noqa: PTH102 - as above
    _tried("device file", lambda: os.mknod("/x", 0o20600, 0x0109))
    _tried("pid", os.getpid)
    _tried("parent", os.getppid)
    _tried("others", lambda: os.kill(2, 0))
    _tried("all", lambda: os.kill(-1, 0))
    _tried("interfaces", lambda: [name for _, name in socket.if_nameindex()])
    _tried("connect", _connected)
    _tried("listen", _listening)
    _tried("user", lambda: os.setresuid(12345, 12345, 12345))
    _tried("name", lambda: socket.sethostname("x"))
    _tried("root", lambda: os.chroot("/"))
    _tried("mount", lambda: _answer(165, 0, 0, 0, 1 << 18, 0))
    _tried("unshare", lambda: _answer(272, 0x0002_0000))
    _tried("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    _tried("module", lambda: _answer(313, -1, 0, 0))
    _tried("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
    _tried("nice", lambda: os.nice(-1))
    _tried("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
    over(0)
