"""The lines of the shell: numbers where it runs, and a table of letters.

Behind those of Text are the words for each NvmeFailure.
"""

from vestige.abi import NVME_FAILURES, NvmeFailure
from vestige.lang.enumeration import IntEnum


class Text(IntEnum):
    """One line, or a part of one."""

    NOTHING = 0
    NAME = 1
    INTEL = 2
    NO_SVM = 3
    LOCKED = 4
    NO_NESTED_PAGING = 5
    ENCRYPTED = 6
    NO_NVME = 7
    SEVERAL = 8
    NOT_THERE = 9
    NO_MSIX = 10
    IOMMU = 11
    BAD_PLACE = 12
    NVME = 13
    AT = 14
    TAKEN = 15
    PANIC = 16
    NO_MEMORY = 17
    MONITOR_FAILED = 18
    EXCEPTION = 19
    EXIT = 20
    ERROR = 21
    ADDRESS = 22
    SHARED_PAGE = 23
    NO_BAR = 24
    NO_MAP = 25
    UNUSABLE = 26
    KEPT = 27
    NO_FILE_SYSTEM = 28
    INSTRUCTION = 29
    BYTES = 30
    PROCESSORS = 31
    APIC_MOVES = 32
    NO_GIBIBYTE_PAGES = 33
    SWITCHED_OFF = 34
    ALREADY = 35
    UNKNOWN_OPTION = 36
    TWICE = 37
    NO_FILE = 38
    NOT_FOUND = 39
    ITSELF = 40
    NO_APPLICATION = 41
    NOT_PERMITTED = 42
    NOT_LOADED = 43
    THERE_ARE = 44


WORDS = {
    Text.NOTHING: "",
    Text.NAME: "efiemu: ",
    Text.INTEL: "this is no AMD processor, and there is no VMX in efiemu; it needs AMD's SVM",
    Text.NO_SVM: "the processor shows no SVM (CPUID Fn8000_0001, ECX bit 2); if this is a virtual"
    " machine, its host must show it",
    Text.LOCKED: "SVM is switched off (VM_CR.SVMDIS); switch it on in the firmware's set-up",
    Text.NO_NESTED_PAGING: "the processor has SVM without nested paging (CPUID Fn8000_000A,"
    " EDX bit 0); if this is a virtual machine, its host must show it",
    Text.SWITCHED_OFF: "it is switched off: the firmware has the variable"
    " EfiemuOff-b5a3e3a0-6b1c-4b7e-9c57-5d6f0c0a1e13; delete that (Linux: chattr -i, then rm)",
    Text.NO_GIBIBYTE_PAGES: "the processor shows no pages of 1 GiB (CPUID Fn8000_0001, EDX bit 26);"
    " if this is a virtual machine, its host must show them",
    Text.ENCRYPTED: "memory is encrypted (SEV or SME), which efiemu can't share with devices; take"
    " a machine without that, or switch it off in the firmware's set-up",
    Text.NO_NVME: "there is no NVMe controller",
    Text.SEVERAL: "there are several NVMe controllers; name one, as in nvme=",
    Text.NOT_THERE: "there is no NVMe controller at ",
    Text.THERE_ARE: "; those there are:",
    Text.NO_MSIX: "the NVMe controller has no MSI-X",
    Text.IOMMU: "there is an IOMMU (ACPI IVRS or DMAR), which an operating system would set up;"
    " switch it off",
    Text.ALREADY: "this machine is taken over already (ACPI has the table VSTG);"
    " a restart ends that",
    Text.BAD_PLACE: "nvme= takes BUS:DEVICE.FUNCTION in hexadecimal digits, as in nvme=01:00.0,"
    " not ",
    Text.UNKNOWN_OPTION: "a load option is nvme=BUS:DEVICE.FUNCTION or boot=FILE, not ",
    Text.TWICE: "nvme= is given twice; name one controller, not also ",
    Text.NO_FILE: "boot= takes a file of the disk, as in boot=/EFI/debian/grubx64.efi",
    Text.NVME: "NVMe ",
    Text.AT: " at ",
    Text.TAKEN: ": taken over; this firmware goes on as a guest",
    Text.PANIC: "PANIC: ",
    Text.NO_MEMORY: "there are no 9 MiB of memory free, or no 8 KiB below 1 MiB",
    Text.MONITOR_FAILED: "the monitor failed at ",
    Text.EXCEPTION: ": exception ",
    Text.EXIT: ": it left without a call, exit ",
    Text.ERROR: ", error code ",
    Text.ADDRESS: ", address ",
    Text.SHARED_PAGE: "the NVMe controller has its MSI-X table in a page with its registers",
    Text.NO_BAR: "the NVMe controller has no address below 128 TiB",
    Text.NO_MAP: "the firmware tells of no memory, or of too many pieces",
    Text.KEPT: "a driver of the firmware keeps the NVMe controller, or the chip set's IDE",
    Text.NO_FILE_SYSTEM: "the disk has no file system that this firmware can read",
    Text.NOT_FOUND: "no file system of the disk has the file to boot (boot=FILE names another): ",
    Text.ITSELF: "the file to boot is efiemu itself (boot=FILE names another): ",
    Text.NO_APPLICATION: "the file to boot is no EFI application for this processor: ",
    Text.NOT_PERMITTED: "Secure Boot does not permit the file to boot: ",
    Text.NOT_LOADED: "the firmware can't load the file to boot, status ",
    Text.UNUSABLE: "the NVMe controller can't be used: ",
    Text.INSTRUCTION: "the guest's instruction can't be done that is at ",
    Text.BYTES: ", bytes",
    Text.PROCESSORS: "there are more than 8 processors, or a local APIC above 254; switch some"
    " off in the firmware's set-up, or have its host give a virtual machine fewer",
    Text.APIC_MOVES: "the guest may not move its local APIC; it has got #GP",
}
ALL = [WORDS[text] for text in Text] + [NVME_FAILURES.get(failure, "") for failure in NvmeFailure]
FAILURES, LAST_FAILURE = len(WORDS), len(NvmeFailure) - 1  # the number of NvmeFailure.NONE's; last
LETTERS = "".join(ALL).encode("ascii")
STARTS = tuple(sum(len(text) for text in ALL[:number]) for number in range(len(ALL) + 1))
