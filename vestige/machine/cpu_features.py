"""The features that CPUID reports, as far as some have need of others, and the table of needs.

Sources: Intel SDM vol. 1, chapters on the XSAVE feature set, AVX, AVX-512, CET and AMX; vol. 2A,
CPUID; AMD APM vol. 3, appendix E; Linux, arch/x86/kernel/cpu/cpuid-deps.c. Definitions only.

A feature is a number: 32 times the place of its register in WORDS, plus its bit there.
"""

from _collections_abc import Iterable

Entry = tuple[int, int, int, int, int, int, int]  # function, index, flags, EAX, EBX, ECX, EDX
EAX, EBX, ECX, EDX = 3, 4, 5, 6  # where an entry has them
REGISTERS = "EAX", "EBX", "ECX", "EDX"

XSAVE_LEAF = 0xD

WORDS = (
    (0x1, 0, ECX),
    (0x1, 0, EDX),
    (0x6, 0, EAX),
    (0x7, 0, EBX),
    (0x7, 0, ECX),
    (0x7, 0, EDX),
    (0x7, 1, EAX),
    (0x7, 1, EDX),
    (0x8000_0001, 0, ECX),
    (0x8000_0001, 0, EDX),
    (0x8000_0007, 0, EDX),
    (XSAVE_LEAF, 1, EAX),
    (XSAVE_LEAF, 0, EAX),  # the state components of XCR0
    (XSAVE_LEAF, 0, EDX),
    (XSAVE_LEAF, 1, ECX),  # the state components of IA32_XSS
    (XSAVE_LEAF, 1, EDX),
)  # (leaf, index, register)
# Leaves that tell of one feature each. That there is such a leaf, not all zero, is a feature too.
LEAVES = (XSAVE_LEAF, 0x12, 0x14, 0x1C, 0x1D, 0x1E, 0x24, 0x8000_001C)

# fmt: off
(
    _1_ECX, _1_EDX, _6_EAX, _7_EBX, _7_ECX, _7_EDX, _7_1_EAX, _7_1_EDX,
    _EXTENDED_ECX, _EXTENDED_EDX, _POWER_EDX, _XSAVE, XCR0, _, XSS, _, LEAF,
) = range(0, 32 * len(WORDS) + 1, 32)
# fmt: on

SSE3 = _1_ECX + 0
PCLMULQDQ = _1_ECX + 1
SSSE3 = _1_ECX + 9
FMA = _1_ECX + 12
CMPXCHG16B = _1_ECX + 13
PCID = _1_ECX + 17
SSE4_1 = _1_ECX + 19
SSE4_2 = _1_ECX + 20
X2APIC = _1_ECX + 21
TSC_DEADLINE = _1_ECX + 24
AES = _1_ECX + 25
XSAVE = _1_ECX + 26
OSXSAVE = _1_ECX + 27
AVX = _1_ECX + 28
F16C = _1_ECX + 29

FPU = _1_EDX + 0
PSE = _1_EDX + 3
TSC = _1_EDX + 4
MSR = _1_EDX + 5
PAE = _1_EDX + 6
CMPXCHG8B = _1_EDX + 8
APIC = _1_EDX + 9
CMOV = _1_EDX + 15
PSE36 = _1_EDX + 17
MMX = _1_EDX + 23
FXSR = _1_EDX + 24
SSE = _1_EDX + 25
SSE2 = _1_EDX + 26

ARAT = _6_EAX + 2
HWP = _6_EAX + 7
HDC = _6_EAX + 13

FSGSBASE = _7_EBX + 0
TSC_ADJUST = _7_EBX + 1
SGX = _7_EBX + 2
AVX2 = _7_EBX + 5
RTM = _7_EBX + 11
MPX = _7_EBX + 14
AVX512F = _7_EBX + 16
AVX512DQ = _7_EBX + 17
SMAP = _7_EBX + 20
AVX512_IFMA = _7_EBX + 21
PROCESSOR_TRACE = _7_EBX + 25
AVX512PF = _7_EBX + 26
AVX512ER = _7_EBX + 27
AVX512CD = _7_EBX + 28
SHA = _7_EBX + 29
AVX512BW = _7_EBX + 30
AVX512VL = _7_EBX + 31

AVX512_VBMI = _7_ECX + 1
PKU = _7_ECX + 3
OSPKE = _7_ECX + 4
AVX512_VBMI2 = _7_ECX + 6
CET_SS = _7_ECX + 7  # shadow stacks
GFNI = _7_ECX + 8
VAES = _7_ECX + 9
VPCLMULQDQ = _7_ECX + 10
AVX512_VNNI = _7_ECX + 11
AVX512_BITALG = _7_ECX + 12
AVX512_VPOPCNTDQ = _7_ECX + 14
LA57 = _7_ECX + 16
ENQCMD = _7_ECX + 29
SGX_LC = _7_ECX + 30
PKS = _7_ECX + 31

AVX512_4VNNIW = _7_EDX + 2
AVX512_4FMAPS = _7_EDX + 3
UINTR = _7_EDX + 5
AVX512_VP2INTERSECT = _7_EDX + 8
TSXLDTRK = _7_EDX + 16
ARCH_LBR = _7_EDX + 19
CET_IBT = _7_EDX + 20  # indirect branch tracking
AMX_BF16 = _7_EDX + 22
AVX512_FP16 = _7_EDX + 23
AMX_TILE = _7_EDX + 24
AMX_INT8 = _7_EDX + 25

SHA512 = _7_1_EAX + 0
SM3 = _7_1_EAX + 1
SM4 = _7_1_EAX + 2
AVX_VNNI = _7_1_EAX + 4
AVX512_BF16 = _7_1_EAX + 5
LASS = _7_1_EAX + 6
CMPCCXADD = _7_1_EAX + 7
FRED = _7_1_EAX + 17
LKGS = _7_1_EAX + 18
AMX_FP16 = _7_1_EAX + 21
AVX_IFMA = _7_1_EAX + 23
LAM = _7_1_EAX + 26
MSRLIST = _7_1_EAX + 27

AVX_VNNI_INT8 = _7_1_EDX + 4
AVX_NE_CONVERT = _7_1_EDX + 5
AMX_COMPLEX = _7_1_EDX + 8
AVX_VNNI_INT16 = _7_1_EDX + 10
USER_MSR = _7_1_EDX + 15
CET_SSS = _7_1_EDX + 18
AVX10 = _7_1_EDX + 19
APX_F = _7_1_EDX + 21

LAHF_SAHF_64 = _EXTENDED_ECX + 0
EXTENDED_APIC_SPACE = _EXTENDED_ECX + 3
SSE4A = _EXTENDED_ECX + 6
MISALIGNED_SSE = _EXTENDED_ECX + 7
XOP = _EXTENDED_ECX + 11
LWP = _EXTENDED_ECX + 15
FMA4 = _EXTENDED_ECX + 16

NX = _EXTENDED_EDX + 20
MMX_EXTENSIONS = _EXTENDED_EDX + 22
FAST_FXSR = _EXTENDED_EDX + 25
PAGES_1G = _EXTENDED_EDX + 26
RDTSCP = _EXTENDED_EDX + 27
LONG_MODE = _EXTENDED_EDX + 29
EXTENDED_3DNOW = _EXTENDED_EDX + 30
AMD_3DNOW = _EXTENDED_EDX + 31

INVARIANT_TSC = _POWER_EDX + 8

XSAVEOPT = _XSAVE + 0
XSAVEC = _XSAVE + 1
XGETBV_1 = _XSAVE + 2  # XGETBV with ECX 1
XSAVES = _XSAVE + 3
XFD = _XSAVE + 4

X87_STATE = XCR0 + 0
SSE_STATE = XCR0 + 1
AVX_STATE = XCR0 + 2
BNDREGS_STATE = XCR0 + 3
BNDCSR_STATE = XCR0 + 4
OPMASK_STATE = XCR0 + 5
ZMM_HI256_STATE = XCR0 + 6
HI16_ZMM_STATE = XCR0 + 7
PKRU_STATE = XCR0 + 9
TILECFG_STATE = XCR0 + 17
TILEDATA_STATE = XCR0 + 18
APX_STATE = XCR0 + 19
LWP_STATE = XCR0 + 62

PT_STATE = XSS + 8
PASID_STATE = XSS + 10
CET_U_STATE = XSS + 11
CET_S_STATE = XSS + 12
HDC_STATE = XSS + 13
UINTR_STATE = XSS + 14
LBR_STATE = XSS + 15
HWP_STATE = XSS + 16

(
    XSAVE_HERE, SGX_HERE, PT_HERE, LBR_HERE, TILES_HERE, TILE_MULTIPLY_HERE, AVX10_HERE, LWP_HERE,
) = range(LEAF, LEAF + len(LEAVES))  # fmt: skip

AVX512_STATE = (OPMASK_STATE, ZMM_HI256_STATE, HI16_ZMM_STATE)
AMX_STATE = (TILECFG_STATE, TILEDATA_STATE)
CET_STATE = (CET_U_STATE, CET_S_STATE)

Needs = tuple[int | tuple[int, ...], ...]

# What a feature needs: all of these; of a tuple inside, one. Where two need each other there are
# both or none. Not listed is what some processor has the one of without the other (CMOV without
# FXSR, which Linux's table has: the Pentium Pro).
NEEDS: dict[int, Needs] = {
    FXSR: (FPU,),
    MMX: (FPU,),
    MMX_EXTENSIONS: (MMX,),
    AMD_3DNOW: (MMX,),
    EXTENDED_3DNOW: (AMD_3DNOW,),
    FAST_FXSR: (FXSR,),
    SSE: (FXSR,),
    SSE2: (SSE,),
    SSE3: (SSE2,),
    SSSE3: (SSE3,),
    SSE4_1: (SSSE3,),
    SSE4_2: (SSE4_1,),
    SSE4A: (SSE3,),
    MISALIGNED_SSE: (SSE,),
    PCLMULQDQ: (SSE2,),
    AES: (SSE2,),
    SHA: (SSE2,),
    GFNI: (SSE2,),
    PSE36: (PSE,),
    NX: (PAE, MSR),
    X2APIC: (APIC, MSR),
    EXTENDED_APIC_SPACE: (APIC,),
    ARAT: (APIC,),
    TSC_DEADLINE: (APIC, MSR, TSC),
    TSC_ADJUST: (MSR, TSC),
    RDTSCP: (TSC,),
    INVARIANT_TSC: (TSC,),
    LONG_MODE: (PAE, MSR, CMPXCHG8B, CMOV, SSE2),
    LAHF_SAHF_64: (LONG_MODE,),
    CMPXCHG16B: (LONG_MODE,),
    PAGES_1G: (LONG_MODE,),
    PCID: (LONG_MODE,),
    LA57: (LONG_MODE,),
    LAM: (LONG_MODE,),
    LASS: (LONG_MODE, SMAP),
    FSGSBASE: (LONG_MODE,),
    LKGS: (LONG_MODE,),
    FRED: (LONG_MODE, LKGS),
    CMPCCXADD: (LONG_MODE,),
    MSRLIST: (LONG_MODE,),
    USER_MSR: (LONG_MODE,),
    UINTR: (LONG_MODE,),
    PKS: (LONG_MODE,),
    SGX: (SGX_HERE,),
    SGX_LC: (SGX,),
    PROCESSOR_TRACE: (PT_HERE,),
    ARCH_LBR: (LBR_HERE,),
    TSXLDTRK: (RTM,),
    XSAVE: (FXSR, XSAVE_HERE, X87_STATE, SSE_STATE),
    OSXSAVE: (XSAVE,),
    XSAVEOPT: (XSAVE,),
    XSAVEC: (XSAVE,),
    XGETBV_1: (XSAVE,),
    XSAVES: (XSAVE,),
    XFD: (XSAVES, XGETBV_1),
    AVX: (SSE4_2, XSAVE, AVX_STATE),
    F16C: (AVX,),
    FMA: (AVX,),
    AVX2: (AVX,),
    XOP: (AVX,),
    FMA4: (AVX,),
    SM3: (AVX,),
    SM4: (AVX2,),
    SHA512: (AVX2,),
    VAES: (AVX2, AES),
    VPCLMULQDQ: (AVX2, PCLMULQDQ),
    AVX_VNNI: (AVX2,),
    AVX_IFMA: (AVX2,),
    AVX_VNNI_INT8: (AVX2,),
    AVX_VNNI_INT16: (AVX2,),
    AVX_NE_CONVERT: (AVX2,),
    AVX512F: (AVX2, FMA, F16C, *AVX512_STATE),
    AVX512DQ: (AVX512F,),
    AVX512_IFMA: (AVX512F,),
    AVX512PF: (AVX512F,),
    AVX512ER: (AVX512F,),
    AVX512CD: (AVX512F,),
    AVX512BW: (AVX512F,),
    AVX512VL: (AVX512F,),
    AVX512_4VNNIW: (AVX512F,),
    AVX512_4FMAPS: (AVX512F,),
    AVX512_VPOPCNTDQ: (AVX512F,),
    AVX512_VBMI: (AVX512BW,),
    AVX512_VBMI2: (AVX512BW, AVX512VL),
    AVX512_BITALG: (AVX512BW, AVX512VL),
    AVX512_FP16: (AVX512BW, AVX512DQ, AVX512VL),
    AVX512_VNNI: (AVX512VL,),
    AVX512_BF16: (AVX512VL,),
    AVX512_VP2INTERSECT: (AVX512VL,),
    AVX10: (AVX2, FMA, F16C, *AVX512_STATE, AVX10_HERE),
    MPX: (XSAVE, BNDREGS_STATE, BNDCSR_STATE),
    PKU: (LONG_MODE, XSAVE, PKRU_STATE),
    OSPKE: (PKU,),
    APX_F: (LONG_MODE, XSAVE, APX_STATE),
    LWP: (XSAVE, LWP_STATE, LWP_HERE),
    AMX_TILE: (LONG_MODE, XFD, *AMX_STATE, TILES_HERE, TILE_MULTIPLY_HERE),
    AMX_BF16: (AMX_TILE,),
    AMX_INT8: (AMX_TILE,),
    AMX_FP16: (AMX_TILE,),
    AMX_COMPLEX: (AMX_TILE,),
    CET_SS: (XSAVES, *CET_STATE),
    CET_IBT: (XSAVES, *CET_STATE),
    CET_SSS: (CET_SS,),
    ENQCMD: (XSAVES,),
    X87_STATE: (XSAVE,),
    SSE_STATE: (XSAVE, SSE),
    AVX_STATE: (AVX,),
    BNDREGS_STATE: (MPX,),
    BNDCSR_STATE: (MPX,),
    **dict.fromkeys(AVX512_STATE, ((AVX512F, AVX10),)),
    PKRU_STATE: (PKU,),
    TILECFG_STATE: (AMX_TILE,),
    TILEDATA_STATE: (AMX_TILE,),
    APX_STATE: (APX_F,),
    LWP_STATE: (LWP,),
    PT_STATE: (XSAVES, PROCESSOR_TRACE),
    PASID_STATE: (XSAVES, ENQCMD),
    **dict.fromkeys(CET_STATE, (XSAVES, (CET_SS, CET_IBT))),
    HDC_STATE: (XSAVES, HDC),
    UINTR_STATE: (XSAVES, UINTR),
    LBR_STATE: (XSAVES, ARCH_LBR),
    HWP_STATE: (XSAVES, HWP),
    XSAVE_HERE: (XSAVE,),
    SGX_HERE: (SGX,),
    PT_HERE: (PROCESSOR_TRACE,),
    LBR_HERE: (ARCH_LBR,),
    TILES_HERE: (AMX_TILE,),
    TILE_MULTIPLY_HERE: (AMX_TILE,),
    AVX10_HERE: (AVX10,),
    LWP_HERE: (LWP,),
}

# AMD has these bits of leaf 1's EDX once more in leaf 0x80000001's; Intel has zeros there.
_TWICE = (*range(10), *range(12, 18), 23, 24)
NEEDS |= {_EXTENDED_EDX + bit: (_1_EDX + bit,) for bit in _TWICE}


def lacking(there: Iterable[Entry], here: Iterable[Entry]) -> str | None:
    """A feature of one processor that another has not, in words; None: it has all."""
    had, has = _words_of(there), _words_of(here)
    for (leaf, index, register), word in had.items():
        missing = word & ~has.get((leaf, index, register), 0)
        if missing:
            bit = (missing & -missing).bit_length() - 1
            name = REGISTERS[register - EAX]
            return f"a feature that it had (CPUID leaf {leaf:#x}.{index}, {name}, bit {bit})"
    return None


def _words_of(entries: Iterable[Entry]) -> dict[tuple[int, int, int], int]:
    found = {(entry[0], entry[1]): entry for entry in entries}
    return {word: found[word[0], word[1]][word[2]] for word in WORDS if (word[0], word[1]) in found}
