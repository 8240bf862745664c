"""DES against FIPS's and others' known answers, and against OpenSSL's."""

import os
import shutil
import subprocess

import pytest

from vestige.viewer.rfb.des import answer, encrypted

# NBS Special Publication 500-20, tables of known answers; the last is of the standard's worked
# example that textbooks repeat.
KNOWN = [
    ("0101010101010101", "8000000000000000", "95f8a5e5dd31d900"),
    ("0101010101010101", "0000000000000001", "166b40b44aba4bd6"),
    ("8001010101010101", "0000000000000000", "95a8d72813daa94d"),
    ("0113b970fd34f2ce", "059b5e0851cf143a", "86a560f10ec6d85b"),
    ("133457799bbcdff1", "0123456789abcdef", "85e813540f0ab405"),
]


@pytest.mark.parametrize(("key", "block", "cipher"), KNOWN)
def test_known_answers(key: str, block: str, cipher: str) -> None:
    assert encrypted(bytes.fromhex(key), bytes.fromhex(block)).hex() == cipher


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_says_the_same() -> None:
    for _ in range(8):
        key, block = os.urandom(8), os.urandom(8)
        words = ("enc", "-des-ecb", "-nopad", "-K", key.hex())
        providers = ("-provider", "legacy", "-provider", "default")
        done = subprocess.run(
            ("openssl", *words, *providers), input=block, capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"this openssl has no DES: {done.stderr.decode()[-200:]}")
        assert done.stdout == encrypted(key, block)


def test_a_password_is_a_key_with_its_bits_turned() -> None:
    challenge = bytes(range(16))
    key = bytes.fromhex("ce a6 c6 4e a6 2e 00 00")  # "secret"
    expected = encrypted(key, challenge[:8]) + encrypted(key, challenge[8:])
    assert answer(b"secret", challenge) == expected
