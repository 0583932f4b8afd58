"""`python -m bench.measure.ballast DEVICE BYTES`: hold a GPU's free memory but for so many bytes.

Says on standard output how much is free then, and lets go when standard input closes. Blocks are multiples of 2 MiB,
the granule of CUDA's allocations.
"""

import sys

GRANULE = 2 * 2**20
NEAR = 16 * 2**20


def main(device: str, leave: int) -> None:
    import torch

    from bench.measure.allocator import device_index, touch

    index = device_index(device)
    touch(index)
    blocks = []
    for _ in range(8):  # a block can come with tables of its own, so look again
        free, _ = torch.cuda.mem_get_info(index)
        if free - leave < NEAR:
            break
        blocks.append(torch.empty((free - leave) // GRANULE * GRANULE, dtype=torch.uint8, device=f"cuda:{index}"))
    print(torch.cuda.mem_get_info(index)[0], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
