"""Units of memory."""

MIB, GIB = 2**20, 2**30  # bytes
