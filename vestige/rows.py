"""The rows of devices.py for all that is not compiled: what the devices claim, by their places.

In the bundle of a run's code (cli/bundling.py) this module is the rows themselves, so that a run
imports none of the devices' own modules. What is compiled, and what compiles, has devices.py.
"""

from vestige.devices import DEVICES
from vestige.devices import POSTS as ALL_POSTS

ROWS, POSTS = DEVICES, ALL_POSTS
