"""Decoding an instruction that touches a device's memory, or strings at ports. AMD64 APM volume 3.

Those are known that firmware and operating systems use for it: MOV in all its forms, arithmetic on
memory, and strings. What else could be there (SSE, CMPXCHG, PUSH, …) is unknown, and who asks says
which bytes it was.
"""

from vestige.efiemu.shell.instruction import (
    INSTRUCTION_POINTER,
    LONGEST,
    NOTHING,
    RAX,
    RBP,
    RBX,
    RDI,
    RSI,
    RSP,
    Instruction,
    Operation,
    SegmentRegister,
)
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u64

REX_B, REX_X, REX_R, REX_W = 1, 2, 4, 8
ESCAPE = 0x0F  # first byte of an opcode of two
# Base and index of the eight forms of 16-bit addresses, 1.4 and table A-16.
BASES_16 = (RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX)
INDICES_16 = (RSI, RDI, RSI, RDI, NOTHING, NOTHING, NOTHING, NOTHING)


class Decoded(IntEnum):
    """How decoding ends."""

    KNOWN = 0
    SHORT = 1  # more bytes are needed
    UNKNOWN = 2
    TOO_LONG = 3  # more than an instruction can have: #GP


class Decoder(Struct):
    """What it knows on its way through the bytes."""

    code_size: u8  # 2, 4 or 8: the processor's mode
    position: u8  # of the next byte
    ended: u8  # 1: there were too few
    rex: u8
    operand_16: u8  # 1: the prefix was there
    other_address: u8
    override: u8  # a segment's number, or NOTHING
    locks: u8
    operand_size: u8

    def decode(self, code_size: u8, into: Instruction) -> u8:
        """The first instruction of `into.bytes`: how it ended. Only a KNOWN one is complete."""
        self.code_size, self.position, self.ended = code_size, 0, 0
        known = self._instruction(into)
        if self.ended:
            return Decoded.SHORT if into.count < LONGEST else Decoded.TOO_LONG
        into.length = self.position
        return Decoded.KNOWN if known else Decoded.UNKNOWN

    def length_of(self, code_size: u8, into: Instruction) -> u8:
        """Of one whose opcode is 0F and a byte more, and which has no operands; 0: it is none."""
        self.code_size, self.position, self.ended = code_size, 0, 0
        escaped = self._prefixes(into) == ESCAPE
        self._next(into)
        return self.position if escaped and not self.ended else 0

    def _instruction(self, into: Instruction) -> bool:
        opcode = self._prefixes(into)
        size: u8 = 4
        if self.rex & REX_W:
            size = 8
        elif (self.operand_16 != 0) != (self.code_size == 2):
            size = 2
        self.operand_size = size
        into.size = size if opcode & 1 else 1  # so it is in most
        into.address_size = self._address_size()
        into.to_memory, into.register, into.high, into.signed = 0, NOTHING, 0, 0
        into.immediate, into.displacement = 0, 0
        into.base, into.index, into.scale = NOTHING, NOTHING, 0
        into.segment = SegmentRegister.DS
        if not self._operation(into, opcode):
            return False
        override = self.override
        if into.operation in (Operation.INPUT_STRING, Operation.STORE_STRING):
            into.segment = SegmentRegister.ES
        elif override != NOTHING:
            into.segment = override
        if into.operation == Operation.EXCHANGE:
            into.locked = 1
        elif self.locks:
            into.locked = 1
            return into.reads() and into.writes() and into.operation < Operation.MOVE_STRING
        else:
            into.locked = 0
        return True

    def _prefixes(self, into: Instruction) -> u8:
        """Read them, and the first byte of the opcode. 1.2."""
        self.rex, self.operand_16, self.other_address, self.locks = 0, 0, 0, 0
        self.override, into.repeated = NOTHING, 0
        while not self.ended:
            byte = self._next(into)
            rex: u8 = 0
            match byte:
                case 0x26 | 0x2E | 0x36 | 0x3E:
                    if self.code_size != 8:  # where these segments begin at 0, and end nowhere
                        self.override = byte >> 3 & 3
                case 0x64 | 0x65:
                    self.override = byte & 7
                case 0x66:
                    self.operand_16 = 1
                case 0x67:
                    self.other_address = 1
                case 0xF0:
                    self.locks = 1
                case 0xF2 | 0xF3:
                    into.repeated = 1
                case _:
                    if self.code_size != 8 or byte & 0xF0 != 0x40:
                        return byte
                    rex = byte
            self.rex = rex  # one that isn't the last prefix counts for nothing
        return 0

    def _address_size(self) -> u8:
        other = self.other_address != 0
        if self.code_size == 8:
            return 4 if other else 8
        return 4 if other == (self.code_size == 2) else 2

    def _operation(self, into: Instruction, opcode: u8) -> bool:
        """By the first byte of the opcode, appendix A.1."""
        if opcode < 0x40 and opcode & 7 < 4:
            into.operation, into.to_memory = opcode >> 3, 1 - (opcode >> 1 & 1)
            return self._memory_and_register(into, into.size)
        match opcode:
            case 0x0F:  # ESCAPE
                return self._second_byte(into)
            case 0x63:
                if self.code_size != 8 or self.operand_size == 2:
                    return False
                into.operation, into.size, into.signed = Operation.MOVE, 4, 1
                return self._memory_and_register(into, self.operand_size)
            case 0x6C | 0x6D | 0x6E | 0x6F:
                into.operation = Operation.INPUT_STRING + (opcode >> 1 & 1)
                into.size = min(into.size, 4)
                return True
            case 0x80 | 0x81 | 0x82 | 0x83:
                if opcode == 0x82 and self.code_size == 8:
                    return False
                into.to_memory = 1
                into.operation = self._memory(into)
                self._immediate(into, 1 if opcode != 0x81 else into.size)
                return into.operation != NOTHING
            case 0x84 | 0x85:
                into.operation = Operation.TEST
                return self._memory_and_register(into, into.size)
            case 0x86 | 0x87:
                into.operation = Operation.EXCHANGE
                return self._memory_and_register(into, into.size)
            case 0x88 | 0x89 | 0x8A | 0x8B:
                into.operation, into.to_memory = Operation.MOVE, 1 - (opcode >> 1 & 1)
                return self._memory_and_register(into, into.size)
            case 0xA0 | 0xA1 | 0xA2 | 0xA3:
                into.operation, into.to_memory = Operation.MOVE, opcode >> 1 & 1
                into.register, into.width = RAX, into.size
                into.displacement = self._number(into, into.address_size)
                return True
            case 0xA4 | 0xA5:
                into.operation = Operation.MOVE_STRING
                return True
            case 0xAA | 0xAB:
                into.operation, into.register, into.width = Operation.STORE_STRING, RAX, into.size
                return True
            case 0xAC | 0xAD:
                into.operation, into.register, into.width = Operation.LOAD_STRING, RAX, into.size
                return True
            case 0xC6 | 0xC7:
                into.operation, into.to_memory = Operation.MOVE, 1
                extension = self._memory(into)
                self._immediate(into, into.size)
                return extension == 0
            case 0xF6 | 0xF7 | 0xFE | 0xFF:
                return self._unary(into, opcode)
        return False

    def _unary(self, into: Instruction, opcode: u8) -> bool:
        """F6, F7, FE and FF, by the extension of the opcode."""
        extension = self._memory(into)
        if opcode >= 0xFE:
            into.operation = Operation.INCREMENT + (extension & 1)
            return extension < 2
        match extension:
            case 0 | 1:
                into.operation = Operation.TEST
                self._immediate(into, into.size)
            case 2:
                into.operation = Operation.NOT
            case 3:
                into.operation = Operation.NEGATE
            case _:
                return False
        return True

    def _second_byte(self, into: Instruction) -> bool:
        """0F, appendix A.1."""
        opcode = self._next(into)
        match opcode:
            case 0xB6 | 0xB7 | 0xBE | 0xBF:
                into.operation, into.size = Operation.MOVE, 1 + (opcode & 1)
                into.signed = opcode >> 3 & 1
                return self._memory_and_register(into, self.operand_size)
            case 0xBA:
                extension = self._memory(into)
                into.size = self.operand_size
                into.operation = Operation.BIT_TEST + (extension & 3)
                into.immediate = self._next(into) % (8 * into.size)
                return 4 <= extension < 8
            case 0xC3:  # MOVNTI
                into.operation, into.to_memory = Operation.MOVE, 1
                into.size = 8 if self.rex & REX_W else 4
                plain = not self.operand_16 and not into.repeated
                return plain and self._memory_and_register(into, into.size)
        return False

    def _memory_and_register(self, into: Instruction, width: u8) -> bool:
        """ModRM with a register of so many bytes; False: both are registers."""
        number = self._memory(into)
        if number == NOTHING:
            return False
        if self.rex & REX_R:
            number += 8
        into.register, into.width = number, width
        if width == 1 and not self.rex and number >= 4:
            into.register, into.high = number - 4, 1
        return True

    def _memory(self, into: Instruction) -> u8:
        """ModRM, SIB and displacement, 1.4: the register's three bits, NOTHING: no memory there."""
        modrm = self._next(into)
        mode, number = modrm >> 6, modrm & 7
        if mode == 3:
            return NOTHING
        if into.address_size == 2:
            self._memory_16(into, mode, number)
        else:
            self._memory_32(into, mode, number)
        if into.base in (RSP, RBP):
            into.segment = SegmentRegister.SS
        return modrm >> 3 & 7

    def _memory_16(self, into: Instruction, mode: u8, number: u8) -> None:
        into.base, into.index = BASES_16[number], INDICES_16[number]
        if mode == 0 and number == 6:
            into.base = NOTHING
            mode = 2
        into.displacement = self._number(into, mode)

    def _memory_32(self, into: Instruction, mode: u8, number: u8) -> None:
        base = number
        if number == RSP:
            sib = self._next(into)
            base, index = sib & 7, sib >> 3 & 7
            if self.rex & REX_X:
                index += 8
            if index != RSP:
                into.index, into.scale = index, sib >> 6
        bytes_of_displacement: u8 = 0
        if mode == 0 and base == RBP:
            bytes_of_displacement = 4
            if number == RBP and self.code_size == 8:
                into.base = INSTRUCTION_POINTER
        else:
            into.base = base + 8 if self.rex & REX_B else base
            if mode == 1:
                bytes_of_displacement = 1
            elif mode == 2:
                bytes_of_displacement = 4
        into.displacement = self._number(into, bytes_of_displacement)

    def _immediate(self, into: Instruction, size: u8) -> None:
        into.immediate = self._number(into, min(size, 4))

    def _number(self, into: Instruction, size: u8) -> u64:
        """So many bytes, the lowest first, the sign of the last one extended."""
        number: u64 = 0
        shift: u8 = 0
        for _ in range(min(size, 8)):
            number |= u64(self._next(into) << (shift & 63))
            shift = min(shift + 8, 56)
        bits = 8 * min(size, 8)
        if bits and number >> bits - 1:
            number |= (1 << 64) - (1 << bits)
        return number

    def _next(self, into: Instruction) -> u8:
        """The next byte; 0 where there is none, which ends the decoding."""
        position = self.position
        if position >= into.count or position >= LONGEST:
            self.ended = 1
            return 0
        self.position = position + 1
        return into.bytes[position]
