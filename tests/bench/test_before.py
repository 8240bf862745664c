"""The table of two versions' rates."""

from bench import before

RATES = {
    before.BEFORE: [{"send: throughput": 10.0, "send: exits": 3.0, "status read": 2.0}] * 3,
    before.NOW: [
        {"send: throughput": rate, "send: exits": 9.0, "status read": 2.2} for rate in (5, 9.6, 11)
    ],
}


def test_rates_may_be_no_less_and_times_no_more() -> None:
    assert list(before.rows_of("a network", RATES)) == [
        ["a network, send", "10", "9.6", "0.96 x", "met"],
        ["a network, status read, µs", "2", "2.2", "1.10 x", "**missed**"],
    ]
