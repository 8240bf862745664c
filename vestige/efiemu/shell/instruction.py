"""What an instruction does that touches memory, or ports with it. AMD64 APM volume 3, chapter 1."""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u64

LONGEST = 15  # bytes of an instruction
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = 0, 1, 2, 3, 4, 5, 6, 7
INSTRUCTION_POINTER, NOTHING = 16, 17  # in the place of a register


class Operation(IntEnum):
    """The first eight are numbered as in the opcodes."""

    ADD = 0
    OR = 1
    ADD_WITH_CARRY = 2
    SUBTRACT_WITH_BORROW = 3
    AND = 4
    SUBTRACT = 5
    EXCLUSIVE_OR = 6
    COMPARE = 7
    MOVE = 8
    EXCHANGE = 9
    TEST = 10
    NOT = 11
    NEGATE = 12
    INCREMENT = 13
    DECREMENT = 14
    BIT_TEST = 16  # and the next three, in the order of opcode 0F BA
    BIT_SET = 17
    BIT_RESET = 18
    BIT_COMPLEMENT = 19
    MOVE_STRING = 20
    STORE_STRING = 21
    LOAD_STRING = 22
    INPUT_STRING = 23
    OUTPUT_STRING = 24


class SegmentRegister(IntEnum):
    """As instructions number them."""

    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5


class Instruction(Struct):
    """One, as it was found at CS:RIP."""

    bytes: u8[LONGEST]
    count: u8  # of the bytes that are there
    length: u8
    operation: u8  # Operation
    size: u8  # of its operand in memory or at the port: 1, 2, 4 or 8 bytes
    to_memory: u8  # 1: of two operands the one in memory is the first one, which is changed
    register: u8  # the other operand, or NOTHING: `immediate`
    high: u8  # 1: bits 15:8 of that register
    width: u8  # bytes of that register
    signed: u8  # 1: MOVE to a wider register extends the sign
    immediate: u64  # its sign extended
    repeated: u8  # 1: by a REP prefix
    locked: u8  # 1: by a LOCK prefix, or by what it is
    segment: u8  # SegmentRegister, of all operands but ES:rDI
    address_size: u8  # 2, 4 or 8 bytes
    base: u8  # a register, INSTRUCTION_POINTER or NOTHING
    index: u8  # a register or NOTHING
    scale: u8  # the index is shifted left by this
    displacement: u64  # its sign extended

    def reads(self) -> bool:
        """Whether it reads its operand in memory; of MOVE_STRING, the source."""
        operation = self.operation
        if operation == Operation.MOVE:
            return self.to_memory == 0
        return operation != Operation.STORE_STRING

    def writes(self) -> bool:
        """Whether it writes its operand in memory; of MOVE_STRING, the destination."""
        match self.operation:
            case Operation.COMPARE | Operation.TEST | Operation.BIT_TEST | Operation.LOAD_STRING:
                return False
            case (
                Operation.EXCHANGE | Operation.NOT | Operation.NEGATE | Operation.INCREMENT
                | Operation.DECREMENT | Operation.BIT_SET | Operation.BIT_RESET
                | Operation.BIT_COMPLEMENT | Operation.MOVE_STRING | Operation.STORE_STRING
            ):  # fmt: skip
                return True
            case _:
                return self.to_memory != 0
