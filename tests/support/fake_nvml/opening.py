"""`open_device` with torch's side of it pretended: which device is found, and what is said where none is."""

from unittest.mock import patch

from bench.measure.device import Device, open_device
from support.fake_nvml.card import Card


def flags_of(uuid: str | None) -> tuple[bool, tuple[str, ...], int | None]:
    """Whether the driver's device was found, the flags, and the idle state, for the UUID that torch would tell."""
    card = Card()
    card.reserved = 0
    allocator = "bench.measure.allocator"
    with (
        patch(f"{allocator}.create_context", lambda _: None),
        patch(f"{allocator}.device_uuid", lambda _: uuid),
        patch("bench.measure.device.open_allocator", lambda _: card),
        patch("bench.measure.device.hold", lambda _, size: card.hold(size)),
    ):
        device: Device = open_device("cuda")
    return device.gpu.present, device.flags, device.baseline_bytes
