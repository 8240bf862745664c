"""Where the host bridge is: every PCI bus 0 begins with it. It claims nothing else.

The ports and the memory through which configuration space is reached are the bus's own.
"""

from vestige.place import Pci, Place

PCI_ROOT = Place("pci", "pci-host-bridge", pci=Pci(slot=0), configured=True)
