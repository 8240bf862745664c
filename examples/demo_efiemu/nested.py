"""The same as the talk had it, in a KVM that nests: the controller is handed over by vfio-pci.

    python -m examples.demo_efiemu.nested

In a software host, whose kvm-amd nests. The VM has QEMU's local APIC, not KVM's: with KVM's the
firmware's writes of CR8 do not exit, and end the emulator below (docs/efiemu.md). QEMU before 8.0
can do so, as Debian 12's.
"""

import sys

from examples.demo.driver import VESTIGE
from examples.demo_efiemu import driver
from examples.demo_efiemu.driver import SLOT, Parts, Vm
from vestige.errors import UsageError
from vestige.softhost import emulator
from vestige.softhost.qemu import nvme_address

WITHOUT_APIC = (8, 0)  # the first version that leaves the local APIC to KVM
# KVM's page faults are told of by an interrupt of KVM's own local APIC.
CPU = "host,-kvm-asyncpf-int"


def main() -> int:
    """Run the demo. Returns the exit status."""
    return driver.perform(Vm(nested, 1))


def nested(parts: Parts) -> list[str]:
    """A software host with a VM in its KVM. Raises UsageError where QEMU is too new for that."""
    program, version = emulator.installed()
    if version >= WITHOUT_APIC:
        raise UsageError(
            f"{program}: QEMU {'.'.join(map(str, version))} has no local APIC for a VM of KVM's,"
            " which this needs; Debian 12's QEMU 7.2 has"
        )
    return [
        *(str(VESTIGE), "softhost", "--nvme", str(parts.disk), "--"),
        *(str(program), "-machine", "q35,kernel_irqchip=off", "-enable-kvm", "-cpu", CPU),
        *driver.machine(parts, ("-device", f"vfio-pci,host={nvme_address(0)},addr={SLOT}")),
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
