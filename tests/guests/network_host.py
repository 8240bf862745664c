"""Inside the software host: the servers that a guest on a network talks to, and the guest's run.

    python network_host.py [--tap ADDRESS NAME [multi_queue]] -- COMMAND...

Sends DATA to whoever connects to SEND, and takes what comes to RECEIVE; iperf3 serves at its own
port. Runs the command, prints "received: BYTES SHA256" for every upload, and ends as it did.
"""

import hashlib
import os
import random
import socket
import subprocess
import sys
import threading

SEND, RECEIVE = 8000, 8001
SIZE = 1_000_001
# What a download gets: no byte where a lost or doubled frame would not show.
DATA = random.Random(1).randbytes(SIZE)


def send(connection: socket.socket) -> None:
    """An answer of HTTP to whatever is asked first."""
    with connection:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + DATA)


def receive(connection: socket.socket) -> None:
    """To the end."""
    digest, size = hashlib.sha256(), 0
    with connection:
        while part := connection.recv(1 << 16):
            digest.update(part)
            size += len(part)
    print(f"received: {size} {digest.hexdigest()}", flush=True)


def serve(port: int, what: object) -> None:
    """Each connection by a thread of its own."""
    listener = socket.create_server(("0.0.0.0", port))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=what, args=(connection,), daemon=True).start()  # type: ignore[arg-type]

    threading.Thread(target=accept, daemon=True).start()


def main() -> int:
    """Serve while the command runs."""
    words, command = sys.argv[1:], []
    end = words.index("--")
    words, command = words[:end], words[end + 1 :]
    if words:
        _, address, name, *several = words
        for line in (
            ["tuntap", "add", name, "mode", "tap", *several],
            ["address", "add", address, "dev", name],
            ["link", "set", name, "up"],
        ):
            subprocess.run(["ip", *line], check=True)
    serve(SEND, send)
    serve(RECEIVE, receive)
    # It keeps what it sends in a file without a name, which the caller's file system can't have.
    server = subprocess.Popen(
        ["iperf3", "--server"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": "/dev/shm"},
    )
    try:
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    finally:
        server.kill()
        server.wait()
        if words:
            subprocess.run(["ip", "link", "delete", name], check=True)


if __name__ == "__main__":
    sys.exit(main())
