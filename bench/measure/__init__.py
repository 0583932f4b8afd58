"""The meter: memory, time and energy of blocks of work.

Importing this package imports nothing, so that its processes start small.
"""
