"""`open_device` with torch's side of it pretended: which device is found, and what is said where none is."""

from unittest.mock import patch

from bench.measure.device import Device, open_device, read_idle_states
from support.fake_nvml.card import CONTEXT, Card


def flags_of(uuid: str | None, early: int = 0) -> tuple[bool, tuple[str, ...], int | None]:
    """Whether the driver's device was found, the flags, and the idle state, for the UUID that torch would tell.

    `early` bytes are taken after the idle state was read and before the device is opened, as by an arm's network.
    """
    card = Card()
    card.reserved = 0
    idle = read_idle_states() if early else None
    card.reserve(early)
    allocator = "bench.measure.allocator"
    with (
        patch(f"{allocator}.create_context", lambda _: None),
        patch(f"{allocator}.device_uuid", lambda _: uuid),
        patch("bench.measure.device.open_allocator", lambda _: card),
        patch("bench.measure.device.hold", lambda _, size: card.hold(size)),
    ):
        device: Device = open_device("cuda", idle)
    assert early == 0 or device.context_bytes == CONTEXT
    return device.gpu.present, device.flags, device.baseline_bytes
