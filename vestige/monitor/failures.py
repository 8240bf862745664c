"""What the host is told of disks that fail: the guest learns only that a request did."""

from vestige.abi import MAX_DISKS, DiskReport, Statistics
from vestige.lang.types import Struct, u8
from vestige.monitor.block import Operation


class FileFailures(Struct):
    """The errors of a domain's disks, by kind of operation."""

    reports: DiskReport[MAX_DISKS]
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

    def show(self, statistics: Statistics) -> None:
        """Put all of them where the host reads them, which is told after that."""
        self.news = 0
        for i in range(MAX_DISKS):
            shown = statistics.disks[i]
            shown.read = self.reports[i].read
            shown.write = self.reports[i].write
            shown.flush = self.reports[i].flush
            shown.discard = self.reports[i].discard
