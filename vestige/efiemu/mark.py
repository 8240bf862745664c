"""How a file of efiemu's is known: by what is in the words of its DOS header that nobody uses."""

MARK, MARK_AT = b"Vestige efiemu", 0x28  # e_res2
