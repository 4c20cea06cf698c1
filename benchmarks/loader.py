"""Images per second of TrainBatches against a PIL DataLoader with the original's transforms.

Both make batches of 128 augmented, normalised CIFAR-shaped images on one core. Rounds alternate
between the two in one process, so that a busy machine slows both; one ratio comes of each round.

    python benchmarks/loader.py [--images 5000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from PIL import Image
from rows import ratios, row
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from srsgd_ray.data import TrainBatches
from srsgd_ray.datasets.cifar import OWN

BATCH = 128
PASSES = 10  # of TrainBatches a round, so that a round lasts long enough to be timed

MEAN, STD = OWN["cifar10"]


class PilImages(Dataset[tuple[Tensor, int]]):
    """CIFAR as torchvision serves it: an array an image, through PIL and the transforms."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.data = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = labels.tolist()
        self.transform: Any = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def main() -> None:
    parser = argparse.ArgumentParser(description="TrainBatches against a PIL DataLoader")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (options.images, 3, 32, 32)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, shape[:1], generator=generator)
    pil = DataLoader(PilImages(images, labels), BATCH, shuffle=True, num_workers=0)
    ours = TrainBatches(images, labels, mean=MEAN, std=STD, pad=4, flip=True)

    slow, fast = [], []
    for turn in range(options.rounds + 1):
        began = time.perf_counter()
        for _ in pil:
            pass
        middle = time.perf_counter()
        for epoch in range(PASSES):
            for _ in ours.epoch(seed=turn, epoch=epoch, batch_size=BATCH):
                pass
        ended = time.perf_counter()
        if turn:  # the first round warms both up
            slow.append(options.images / (middle - began))
            fast.append(options.images * PASSES / (ended - middle))
    print(f"{options.images} images, batch {BATCH}, 1 thread, torch {torch.__version__}, ", end="")
    print(f"n = {options.rounds} interleaved rounds after 1 to warm up; median [quartiles]")
    print("images/s: PIL {:,.0f}, ours {:,.0f}".format(*map(statistics.median, (slow, fast))))
    row("images a second against a PIL DataLoader, 1 thread", ratios(fast, slow), least=True)


if __name__ == "__main__":
    main()
