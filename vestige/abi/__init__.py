"""Everything the host, the machine and the monitor share: addresses, calls, shared structs.

This is the whole interface between the host process and the code that runs inside a guest's
shadow. The guest VM maps RAM only (and SHADOW, read-only, where its IDE is in memory, and REGIONS
where it has some); the monitor VM maps that RAM at the same addresses and, in the hole below
4 GiB, the private memory listed here. All of what the monitor writes is untrusted by the host: the
threat of each entry stands beside it.
"""

from vestige.abi.calls import *
from vestige.abi.config import *
from vestige.abi.events import *
from vestige.abi.firmware import *
from vestige.abi.interrupts import *
from vestige.abi.kvm import *
from vestige.abi.layout import *
from vestige.abi.reports import *
from vestige.abi.screen import *
from vestige.abi.shared import *
from vestige.bounds import *
