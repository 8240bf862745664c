"""Starting the viewer of a run."""

import os

from vestige.host.backends.events import Events
from vestige.host.control.server import name_of
from vestige.host.jail.user import Ids
from vestige.host.options import JAIL_REQUIRED, RunOptions
from vestige.host.viewer.inner import Locked, Viewer
from vestige.host.viewer.outer import ViewerProcess
from vestige.lang.types import TYPE_CHECKING
from vestige.viewer.layouts import US
from vestige.viewer.rfb.session import Terms

if TYPE_CHECKING:
    from vestige.host.files.opening import Display


def viewer_process(
    asked: RunOptions, display: "Display", events: Events, filter_: bytes | None, user: Ids | None
) -> ViewerProcess:
    """For those that connect to `display`. Raises UsageError."""
    layout = US if asked.display is None else asked.display.layout
    terms = Terms(f"Vestige {name_of(asked)}", display.password, layout, os.urandom)
    jail = asked.jail
    locked = Locked(filter_, is_on=jail.is_on, is_required=jail.mode == JAIL_REQUIRED, user=user)
    return ViewerProcess(events, locked, lambda link: Viewer(link, terms).serve())
