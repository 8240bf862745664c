"""The block request between a disk model and a driver."""

import pytest

from vestige.lang.intrinsics import CheckFailed
from vestige.monitor.block import MAX_SEGMENTS, BlockRequest, Operation, State


@pytest.fixture
def request_of_8() -> BlockRequest:
    request = BlockRequest()
    request.prepare(Operation.READ, 1, 100, 8)
    return request


def lengths(request: BlockRequest) -> list[int]:
    return [request.segments[i].length for i in range(request.segment_count)]


def test_a_request_goes_from_idle_through_queued_and_done_to_idle(
    request_of_8: BlockRequest,
) -> None:
    states = [request_of_8.state]
    for step in (request_of_8.submit, lambda: request_of_8.complete(5), request_of_8.release):
        step()
        states.append(request_of_8.state)
    assert states == [State.IDLE, State.QUEUED, State.DONE, State.IDLE]
    assert (request_of_8.error, request_of_8.drive, request_of_8.lba) == (5, 1, 100)


def test_a_new_request_knows_nothing_of_the_last_one(request_of_8: BlockRequest) -> None:
    request_of_8.add(0x1000, 512)
    request_of_8.submit()
    request_of_8.complete(5)
    request_of_8.release()
    request_of_8.prepare(Operation.FLUSH, 0, 0, 0)
    assert (request_of_8.error, request_of_8.segment_count) == (0, 0)


def test_a_request_under_way_is_not_prepared_again(request_of_8: BlockRequest) -> None:
    request_of_8.submit()
    with pytest.raises(CheckFailed):
        request_of_8.prepare(Operation.READ, 0, 0, 1)


def test_only_what_was_asked_is_completed(request_of_8: BlockRequest) -> None:
    with pytest.raises(CheckFailed):
        request_of_8.complete(0)
    with pytest.raises(CheckFailed):
        request_of_8.release()


def test_adjacent_segments_are_one(request_of_8: BlockRequest) -> None:
    request_of_8.add(0x1000, 512)
    request_of_8.add(0x1200, 512)
    request_of_8.add(0x2000, 512)
    assert lengths(request_of_8) == [1024, 512]


def test_a_segment_never_grows_beyond_31_bits(request_of_8: BlockRequest) -> None:
    request_of_8.add(0, 0x7FFF_FE00)
    request_of_8.add(0x7FFF_FE00, 512)
    assert lengths(request_of_8) == [0x7FFF_FE00, 512]


def test_there_is_room_for_so_many_segments_and_no_more(request_of_8: BlockRequest) -> None:
    for i in range(MAX_SEGMENTS):
        assert not request_of_8.full()
        request_of_8.add(0x1000 * i, 512)
    assert request_of_8.full()
    request_of_8.add(0x1000 * (MAX_SEGMENTS - 1) + 512, 512)
    with pytest.raises(CheckFailed):
        request_of_8.add(0x9000_0000, 512)
