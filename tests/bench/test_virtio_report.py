"""What the virtio benchmarks make of what was counted."""

from bench import virtio_report
from bench.inside import observe
from bench.virtio_report import EXITS, GUEST_EXITS, HOST, OWN, RATE, WHOLE, Page, key

PAGE = Page(
    name="nothing",
    title="Nothing",
    operation="operation",
    jobs={"read": "reads"},
    units={"read": "MiB/s"},
    pairs=(("ours", "theirs"),),
    colours={},
)


def round_of(rate: float, host: float, exits: float) -> dict[str, float]:
    """One round of a configuration."""
    return {
        key("read", RATE): rate,
        key("read", HOST): host,
        key("read", EXITS): exits,
        key("read", GUEST_EXITS): 0.0,
    }


def test_an_operation_costs_what_the_span_took_without_the_guest() -> None:
    span = {
        "seconds": 2.0, "cpu": 1.5, "guest": 0.5, "exits": 300.0, "worker": 200.0, "switches": 1.0,
        "own": 4.0,
    }  # fmt: skip
    found = virtio_report.span_costs("read", 7.0, 100.0, span)
    assert found[key("read", RATE)] == 7.0
    assert found[key("read", OWN)] == 25.0
    assert found[key("read", HOST)] == 10_000.0
    assert found[key("read", WHOLE)] == 15_000.0
    assert found[key("read", EXITS)] == 3.0
    assert found[key("read", GUEST_EXITS)] == 1.0


def test_the_guests_time_is_its_share_of_the_ticks() -> None:
    taken = {"cpu": 1.5, "busy": 2.0, "busy ticks": 100.0, "guest ticks": 25.0}
    assert observe.span(taken) == {"cpu": 1.5, "guest": 0.5}


def test_a_span_without_a_tick_has_no_guests_time() -> None:
    taken = {"cpu": 0.0, "busy": 0.001, "busy ticks": 0.0, "guest ticks": 0.0}
    assert observe.span(taken) == {"cpu": 0.0, "guest": 0.0}


def test_misses_are_shown_as_plainly_as_hits() -> None:
    measured = {"ours": [round_of(20.0, 8.0, 0.01)], "theirs": [round_of(10.0, 10.0, 3.0)]}
    result = {"date": "2026-01-02", "rounds": 1, "said": "So.", "measured": measured}
    lines = virtio_report.page_lines(PAGE, result)
    assert lines[0] == "Medians of 1 rounds, 2026-01-02. So."
    assert "| reads, MiB/s | 20 | 10 |" in lines
    assert not any("own processor time" in line for line in lines)
    assert "| reads | 0.01 | 3.00 |" in lines
    assert "| reads: throughput ≥ 1.0 x QEMU's | 2.00 x, met |" in lines
    assert "| reads: host CPU ≤ 0.7 x QEMU's | 0.80 x, **missed** |" in lines
    assert "| reads: 0 exits to user space | 0.01, met |" in lines


def test_who_promises_nothing_but_rates_is_held_to_these() -> None:
    measured = {
        "ours": [{**round_of(20.0, 8.0, 3.0), key("read", OWN): 9.0}],
        "theirs": [{**round_of(10.0, 10.0, 3.0), key("read", OWN): 10.0}],
    }
    result = {"date": "2026-01-02", "rounds": 1, "said": "", "measured": measured}
    lines = virtio_report.page_lines(PAGE._replace(promised=(RATE, OWN)), result)
    goals = lines[lines.index("| goal | ours / theirs |") + 2 : -2]
    assert goals == [
        "| reads: throughput ≥ 1.0 x QEMU's | 2.00 x, met |",
        "| reads: throughput of a processor's second ≥ 1.0 x QEMU's | 0.90 x, **missed** |",
    ]
    title = "a second of the software host's own processor time, operation"
    assert f"| {title} | ours | theirs |" in lines
