"""`python -m bench.measure.occupy DEVICE BYTES`: occupy a GPU's free memory but for so many bytes.

It prints the bytes that are then free and keeps its blocks until standard input closes. Blocks are multiples of 2 MiB,
the granule of CUDA's allocations.
"""

import sys

GRANULE = 2 * 2**20
NEAR = 16 * 2**20


def main(device: str, leave: int) -> None:
    """Occupy all but `leave` bytes of the free memory of `device` (cuda, cuda:N) until standard input closes."""
    import torch

    from bench.measure.allocator import create_context, device_index

    index = device_index(device)
    create_context(index)
    blocks = []
    for _ in range(8):  # a block can need tables of its own, so measure again
        free, _ = torch.cuda.mem_get_info(index)
        if free - leave < NEAR:
            break
        blocks.append(torch.empty((free - leave) // GRANULE * GRANULE, dtype=torch.uint8, device=f"cuda:{index}"))
    print(torch.cuda.mem_get_info(index)[0], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
