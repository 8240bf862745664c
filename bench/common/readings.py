"""What programs in the guest say, as numbers: port (bench/guest), hdparm -t, fio, iperf3."""

import json
import re
import statistics
from typing import NamedTuple

# fio(1), "TERSE OUTPUT", version 3: fields of a line, from 0.
_JOB, _ERROR = 2, 4
_READ, _WRITE = 5, 46  # total KiB, KiB/s, IOPS, run time in ms
_TOTAL, _BANDWIDTH, _OPERATIONS = 0, 1, 2
_HDPARM = re.compile(r"Timing buffered disk reads: +\d+ MB in +[\d.]+ seconds = +([\d.]+) (.)B/sec")
_UNITS = {"k": 1 / 1024, "M": 1.0, "G": 1024.0}


class ReadingError(Exception):
    """A program said something else than it should; carries what it said."""


class Job(NamedTuple):
    """What one of fio's jobs moved in a second, and KiB in all."""

    mebibytes: float
    operations: float
    kibibytes: int


def port_time(console: str) -> float:
    """Nanoseconds of one read of the port: the median of the batches."""
    batches = [line.split() for line in console.splitlines() if line.startswith("port: ")]
    if not batches:
        raise ReadingError(f"no line 'port: NUMBER NANOSECONDS':\n{console}")
    return statistics.median(float(words[2]) for words in batches)


def hdparm(console: str) -> float:
    """MiB/s of buffered reads; what hdparm calls MB is 2**20 bytes."""
    found = _HDPARM.search(console)
    if found is None:
        raise ReadingError(f"no timing by hdparm:\n{console}")
    return float(found[1]) * _UNITS[found[2]]


def fio(console: str) -> dict[str, Job]:
    """Each job by its name. Raises ReadingError if one ended with an error or moved nothing."""
    jobs = {}
    for line in console.splitlines():
        fields = line.split(";")
        if len(fields) <= _WRITE + _OPERATIONS or fields[0] != "3":
            continue
        if fields[_ERROR] != "0":
            raise ReadingError(f"fio's {fields[_JOB]} ended with error {fields[_ERROR]}")
        side = max((_READ, _WRITE), key=lambda start: int(fields[start + _TOTAL]))
        if fields[side + _TOTAL] == "0":
            raise ReadingError(f"fio's {fields[_JOB]} moved nothing")
        jobs[fields[_JOB]] = Job(
            int(fields[side + _BANDWIDTH]) / 1024,
            float(fields[side + _OPERATIONS]),
            int(fields[side + _TOTAL]),
        )
    if not jobs:
        raise ReadingError(f"no line of fio's terse output, version 3:\n{console}")
    return jobs


class Transfer(NamedTuple):
    """What one run of iperf3 moved: in a second, and in all."""

    mebibytes: float
    total: float  # MiB


def iperf3(console: str) -> dict[str, Transfer]:
    """Each run by its name, from its JSON between "iperf3: NAME" and "iperf3: end"."""
    runs = {}
    for part in console.split("iperf3: ")[1::2]:
        name, _, text = part.partition("\n")
        try:
            said = json.loads(text)
        except json.JSONDecodeError:
            raise ReadingError(f"iperf3's {name} said no JSON:\n{text}") from None
        if "error" in said:
            raise ReadingError(f"iperf3's {name} ended with an error: {said['error']}")
        received = said["end"]["sum_received"]
        mebibytes = received["bytes"] / (1 << 20)
        runs[name] = Transfer(mebibytes / received["seconds"], mebibytes)
    if not runs:
        raise ReadingError(f"no run of iperf3:\n{console}")
    return runs
