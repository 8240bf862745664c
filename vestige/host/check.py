"""Whether this machine's KVM can run guests: for `--accel auto` and `vestige doctor`."""

import os

from vestige.errors import UsageError
from vestige.host import kvm

PAGE_TABLE_KVM = "/sys/module/kvm_pvm"


def kvm_problem(device: str = kvm.DEVICE) -> str | None:
    """Why /dev/kvm can't be used at all, in one line; None: it can."""
    try:
        kvm.System(device).close()
    except UsageError as error:
        return str(error)
    return None


def kvm_emulates(module: str = PAGE_TABLE_KVM) -> str | None:
    """Why /dev/kvm works but is no use for a whole kernel, in one line; None: it is fine.

    The page-table flavour of KVM, seen inside micro-VMs, emulates ring 0 instruction by
    instruction; a Linux kernel fails there after a minute.
    """
    if os.access(module, os.F_OK):
        return "/dev/kvm is kvm_pvm, which emulates a kernel's instructions one by one"
    return None
