"""Commands and files in a guest, by the agent that guests have already: QEMU's. See docs/agent.md.

    agent = Agent("/run/user/1000/vestige/web@agent")
    done = agent.run(["python3", "-c", "print(6 * 7)"], timeout=10)
    print(done.status, done.stdout)

`AsyncAgent` has the same for asyncio. What there is here loads on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige.agent.asynchronous import AsyncAgent
    from vestige.agent.blocking import Agent
    from vestige.agent.operations import Done, EndedError, TimedOutError
    from vestige.agent.protocol import RefusedError
    from vestige.agent.talk import AbsentError

__all__ = [
    "AbsentError",
    "Agent",
    "AsyncAgent",
    "Done",
    "EndedError",
    "RefusedError",
    "TimedOutError",
]
_PLACES = {
    "AbsentError": "talk",
    "Agent": "blocking",
    "AsyncAgent": "asynchronous",
    "Done": "operations",
    "EndedError": "operations",
    "RefusedError": "protocol",
    "TimedOutError": "operations",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"vestige.agent.{_PLACES[name]}", fromlist=[name])
    return getattr(module, name)
