"""What programs in the guest say, read."""

import pytest

from bench.common import readings
from bench.common.readings import Job, ReadingError

HDPARM = """
/dev/sda:
 Timing buffered disk reads: 122 MB in  3.02 seconds =  40.40 MB/sec
"""


def line(job: str, *, error: int = 0, read: str = "0;0;0;0", write: str = "0;0;0;0") -> str:
    """A line as fio 3.33 writes it, with what the reader looks at."""
    fields = ["3", "fio-3.33", job, "0", str(error), *read.split(";"), *["0"] * 37]
    fields += [*write.split(";"), *["0"] * 80]
    return ";".join(fields)


def test_the_ports_time_is_the_median_of_the_batches() -> None:
    assert readings.port_time("boot\nport: 503 150\nport: 503 900\nport: 503 160\n") == 160


def test_a_guest_that_read_no_port_is_an_error() -> None:
    with pytest.raises(ReadingError, match="port: NUMBER"):
        readings.port_time("bench: failed\n")


@pytest.mark.parametrize(
    ("said", "rate"),
    [("40.40 MB/sec", 40.4), ("512.00 kB/sec", 0.5), ("1.50 GB/sec", 1536.0)],
)
def test_hdparm_in_all_its_units(said: str, rate: float) -> None:
    assert readings.hdparm(HDPARM.replace("40.40 MB/sec", said)) == rate


def test_hdparm_that_timed_nothing_is_an_error() -> None:
    with pytest.raises(ReadingError, match="no timing"):
        readings.hdparm("/dev/sda: No such device\n")


def test_fios_jobs_are_read_from_the_side_that_moved_something() -> None:
    console = "\n".join(
        [
            "Linux says something",
            line("sequential-read", read="204800;51200;400;4000"),
            line("random-write", write="4096;1024;256;4000"),
            "bench: done",
        ]
    )
    assert readings.fio(console) == {
        "sequential-read": Job(50.0, 400.0),
        "random-write": Job(1.0, 256.0),
    }


def test_a_job_that_failed_is_an_error() -> None:
    with pytest.raises(ReadingError, match="random-read ended with error 5"):
        readings.fio(line("random-read", error=5, read="4;1;1;4000"))


def test_a_job_that_moved_nothing_is_an_error() -> None:
    with pytest.raises(ReadingError, match="random-read moved nothing"):
        readings.fio(line("random-read"))


def test_no_job_at_all_is_an_error() -> None:
    with pytest.raises(ReadingError, match="terse"):
        readings.fio("fio: unknown option\n")
