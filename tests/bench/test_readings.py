"""What programs in the guest say, read."""

import json

import pytest

from bench.common import readings
from bench.common.readings import Job, ReadingError, Transfer

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
        "sequential-read": Job(50.0, 400.0, 204800),
        "random-write": Job(1.0, 256.0, 4096),
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


def run(name: str, said: object) -> str:
    """What the guest's job prints for one run of iperf3."""
    return f"iperf3: {name}\n{json.dumps(said, indent=1)}\niperf3: end\n"


def test_iperf3s_runs_are_read_as_their_receiver_saw_them() -> None:
    ends = [{"sum_received": {"bytes": bytes_, "seconds": 4.0}} for bytes_ in (8 << 20, 2 << 20)]
    console = "".join(
        run(name, {"end": end}) for name, end in zip(("send", "receive"), ends, strict=True)
    )
    assert readings.iperf3(f"login:\n{console}bench: done\n") == {
        "send": Transfer(2.0, 8.0),
        "receive": Transfer(0.5, 2.0),
    }


def test_a_run_of_iperf3_that_failed_is_an_error() -> None:
    with pytest.raises(ReadingError, match="send ended with an error: unable to connect"):
        readings.iperf3(run("send", {"error": "unable to connect"}))


def test_no_run_of_iperf3_is_an_error() -> None:
    with pytest.raises(ReadingError, match="no run"):
        readings.iperf3("bench: done\n")


def test_iperf3_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(ReadingError, match="receive said no JSON"):
        readings.iperf3("iperf3: receive\n{\niperf3: end\n")
