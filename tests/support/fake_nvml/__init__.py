"""A stand-in for the driver's library, and a card that it describes: for tests without a GPU."""
