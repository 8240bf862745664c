"""Where the screen is shown, opened, and the viewer of a run, started."""

import os

from vestige.host.backends.consoles import Consoles
from vestige.host.backends.events import Events
from vestige.host.control.server import name_of
from vestige.host.jail.user import Ids
from vestige.host.options import JAIL_REQUIRED, RunOptions
from vestige.host.resources import Resources
from vestige.host.viewer.inner import Locked, Viewer
from vestige.host.viewer.listener import Listener
from vestige.host.viewer.option import TEXT, DisplayOption
from vestige.host.viewer.outer import ViewerProcess
from vestige.host.viewer.text import TextDisplay, TextViewer, open_text
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import Watch
from vestige.viewer.layouts import US
from vestige.viewer.rfb.session import Terms

if TYPE_CHECKING:
    from vestige.host.files.opening import Display


def open_display(
    option: DisplayOption, consoles: Consoles, resources: Resources, watch: Watch
) -> "Display":
    """Where it says. Raises UsageError."""
    if option.kind == TEXT:
        text = open_text()
        consoles.also.append(text)
        return text
    listener = resources.keep(Listener(option))
    watch.beside.append(listener)
    return listener


def viewer_process(
    asked: RunOptions, display: "Display", events: Events, filter_: bytes | None, user: Ids | None
) -> ViewerProcess:
    """For those that connect to `display`. Raises UsageError."""
    layout = US if asked.display is None else asked.display.layout
    jail = asked.jail
    locked = Locked(filter_, is_on=jail.is_on, is_required=jail.mode == JAIL_REQUIRED, user=user)
    if isinstance(display, TextDisplay):
        viewer = ViewerProcess(events, locked, lambda link: TextViewer(link, layout).serve())
        display.tell_size = viewer.tell_size
        display.tell_new_size()
        return viewer
    name = f"Vestige {name_of(asked, os.getpid())}"
    terms = Terms(name, display.password, layout, os.urandom, tablet=asked.tablet)
    return ViewerProcess(events, locked, lambda link: Viewer(link, terms).serve())
