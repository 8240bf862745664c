"""What the host is told of files that fail.

The guest learns only that a request to a disk failed, and nothing of what a console's file takes no
more.
"""

from vestige.abi import MAX_DISKS, MAX_PORTS, DiskReport, Statistics
from vestige.lang.types import Struct, u8
from vestige.monitor.block import Operation


class FileFailures(Struct):
    """The errors of a domain's disks, by kind of operation, and of its consoles' output."""

    reports: DiskReport[MAX_DISKS]
    streams: u8[MAX_PORTS]
    news: u8  # 1: there is one that the host has not been told of

    def note(self, disk: u8, operation: u8, error: u8) -> None:
        """A request has failed, with this errno of the host's. Many fail as the last one did."""
        report = self.reports[disk]
        match operation:
            case Operation.READ:
                before = report.read
                report.read = error
            case Operation.WRITE:
                before = report.write
                report.write = error
            case Operation.FLUSH:
                before = report.flush
                report.flush = error
            case _:
                before = report.discard
                report.discard = error
        if error != before:
            self.news = 1

    def note_stream(self, port: u8, error: u8) -> None:
        """What is written to a port's file is lost from now on; 0 is the console, of any kind."""
        self.streams[port] = error
        self.news = 1

    def show(self, statistics: Statistics) -> None:
        """Put all of them where the host reads them, which is told after that."""
        self.news = 0
        for i in range(MAX_DISKS):
            shown = statistics.disks[i]
            shown.read = self.reports[i].read
            shown.write = self.reports[i].write
            shown.flush = self.reports[i].flush
            shown.discard = self.reports[i].discard
        for i in range(MAX_PORTS):
            statistics.streams[i] = self.streams[i]
