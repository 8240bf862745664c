"""Debian's own agent, asked by a program with an event loop."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.peers import LOOK, at_a_socket, debians, saying
from tests.agent.test_blocking import ENDLESS, over
from vestige.agent import AbsentError, AsyncAgent, Done, EndedError, RefusedError, TimedOutError


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsyncAgent]:
    with debians(tmp_path_factory.mktemp("agent")) as path:
        yield AsyncAgent(path)


def test_commands_run_beside_each_other(agent: AsyncAgent, tmp_path: Path) -> None:
    """Each waits for the other. QEMU's agent, as a server, has a queue of two."""

    async def both() -> list[Done]:
        wait = f"echo > {tmp_path}/$0; until [ -e {tmp_path}/$1 ]; do sleep 0.01; done; echo $0"
        return list(
            await asyncio.gather(
                agent.run(["sh", "-c", wait, "one", "two"], timeout=60),
                agent.run(["sh", "-c", wait, "two", "one"], timeout=60),
            )
        )

    assert asyncio.run(both()) == [Done(0, b"one\n", b""), Done(0, b"two\n", b"")]


def test_a_file_is_written_and_read(agent: AsyncAgent, tmp_path: Path) -> None:
    data = random.Random(2).randbytes(700_000)

    async def there_and_back() -> bytes:
        await agent.ping()
        await agent.write_file(tmp_path / "file", data)
        return await agent.read_file(tmp_path / "file")

    assert asyncio.run(there_and_back()) == data


def test_a_command_that_takes_too_long_is_killed(agent: AsyncAgent, tmp_path: Path) -> None:
    with pytest.raises(TimedOutError, match=r"^the command has not ended within 1 s; killed in"):
        asyncio.run(agent.run(["sh", "-c", ENDLESS.format(tmp_path)], timeout=1))
    over(tmp_path)


def test_a_task_that_is_cancelled_ends_its_command_in_the_guest(
    agent: AsyncAgent, tmp_path: Path
) -> None:
    async def cancel() -> BaseException | None:
        task = asyncio.ensure_future(agent.run(["sh", "-c", ENDLESS.format(tmp_path)]))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(LOOK)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as told:
            await task
        return told.value.__cause__

    cause = asyncio.run(cancel())
    assert cause is None or isinstance(cause, EndedError)
    over(tmp_path)
    assert asyncio.run(agent.run(["true"])) == Done(0, b"", b"")


def test_errors_are_those_of_the_other_form(agent: AsyncAgent, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^the guest agent: .*/bin/nothing"):
        asyncio.run(agent.run(["/bin/nothing"]))
    with (
        at_a_socket(tmp_path / "agent", saying(lambda *_: b"\n")) as path,
        pytest.raises(AbsentError, match=r"^no guest agent has answered within 0.2 s"),
    ):
        asyncio.run(AsyncAgent(path, patience=0.2).ping())
