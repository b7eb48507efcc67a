"""How fast the embedded world is drawn: images a second on one core. Run as `python benchmarks/world.py`."""

from time import perf_counter

import torch

from gangraph.data.world.source import World

BATCH, BATCHES, ROUNDS = 64, 8, 3
CASES = {
    "image": 64,
    "segmap": 64,
    "outline": 64,
    "tokens": 64,
    "clip": 64,
    "image at 32": 32,
    "image at 256": 256,
}


def speed(world: World) -> float:
    """Samples a second: the best of a few rounds, after one batch to warm up."""
    dataset, generator = world.open(), torch.Generator()
    dataset.batch(range(BATCH), generator)
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for number in range(BATCHES):
            dataset.batch(range(number * BATCH, (number + 1) * BATCH), generator)
        times.append(perf_counter() - start)
    return BATCH * BATCHES / min(times)


def main() -> None:
    """Print a line for each case."""
    torch.set_num_threads(1)
    for name, size in CASES.items():
        found = speed(World(view=name.split()[0], size=size))
        print(f"{name:<14}{size:>4} px {found:>10,.0f} samples/s")


if __name__ == "__main__":
    main()
