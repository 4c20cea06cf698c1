"""Who sees which sample when: nothing twice, nothing missing, and on from the very next one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from srsgd_ray.data.epochs import epoch_order
from srsgd_ray.data.loader import EpochSampler


def joined(parts: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def ranks(count: int, world_size: int, **options: Any) -> list[EpochSampler]:
    return [
        EpochSampler(count, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


@pytest.mark.parametrize(("count", "world_size"), [(12, 1), (12, 4), (13, 4), (15, 4), (3, 3)])
def test_ranks_share_the_samples(count: int, world_size: int) -> None:
    seen = {
        uneven: [list(s) for s in ranks(count, world_size, uneven=uneven, seed=3)]
        for uneven in ("drop", "pad", "keep")
    }
    order = epoch_order(count, 3, 0).tolist()
    rest = count % world_size
    for uneven, parts in seen.items():
        for rank, part in enumerate(parts):
            whole = part[:-1] if uneven == "pad" and rest and rank >= rest else part
            assert whole == order[rank::world_size][: len(whole)]
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= (uneven == "keep")
    together = {uneven: sorted(joined(parts)) for uneven, parts in seen.items()}
    assert together["keep"] == list(range(count))
    assert together["drop"] == sorted(order[: count - rest])
    padding = order[: (world_size - rest) % world_size]
    assert together["pad"] == sorted(order + padding)


def test_orders_follow_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, shuffle: bool = True) -> list[int]:
        sampler = EpochSampler(50, seed=seed, shuffle=shuffle)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1) == epoch_order(50, 0, 1).tolist()
    assert len({tuple(order(*of)) for of in ((0, 0), (0, 1), (1, 0), (1, 1))}) == 4
    assert order(0, 0, shuffle=False) == list(range(50))


@pytest.mark.parametrize("uneven", ["drop", "pad", "keep"])
@pytest.mark.parametrize("after", [2, 3, 1])
def test_an_epoch_goes_on_at_the_very_next_sample(uneven: str, after: int) -> None:
    before = ranks(26, 2, uneven=uneven, seed=1)
    for sampler in before:
        sampler.set_epoch(4)
    first = [list(sampler)[:5] for sampler in before]
    state = before[0].state(5)
    assert state == before[1].state(5)
    later = ranks(26, after, uneven=uneven, seed=1)
    for sampler in later:
        sampler.restore(state)
    rest = [list(sampler) for sampler in later]
    assert [len(sampler) for sampler in later] == [len(part) for part in rest]
    order = epoch_order(26, 1, 4).tolist()
    assert sorted(joined(first)) == sorted(order[:10])
    whole = 16 // after * after if uneven == "drop" else 16
    assert set(joined(rest)) >= set(order[10 : 10 + whole])
    if uneven != "pad":
        assert sorted(joined(rest)) == sorted(order[10 : 10 + whole])
    # The pass after that is a whole one again; a second break counts from where the first was.
    again = later[0].state(2)
    assert again["position"] == 10 + 2 * after
    later[0].set_epoch(5)
    assert len(list(later[0])) >= 26 // after


def test_a_usual_loop_goes_on_where_it_was_restored() -> None:
    """It calls set_epoch before each epoch, of the one that was broken off too."""
    before = EpochSampler(10, seed=3)
    before.set_epoch(2)
    whole = list(before)
    sampler = EpochSampler(10, seed=3)
    sampler.restore(before.state(4))
    seen = []
    for epoch in (2, 3, 2):
        sampler.set_epoch(epoch)
        seen.append(list(sampler))
    assert seen[0] == whole[4:]
    assert len(seen[1]) == 10 and seen[2] == whole
    sampler.restore(before.state(4))
    for wanted in (whole[4:], whole):
        sampler.set_epoch(2)
        assert list(sampler) == wanted
    sampler.restore(before.state(4))
    sampler.set_epoch(3)
    assert list(sampler) == seen[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_any_workers_gives_the_same_order(workers: int) -> None:
    sampler = EpochSampler(20, rank=1, world_size=2, seed=5)
    loader = DataLoader(torch.arange(20), batch_size=3, sampler=sampler, num_workers=workers)  # type: ignore[arg-type]
    assert torch.cat(list(loader)).tolist() == epoch_order(20, 5, 0).tolist()[1::2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uneven": "half"}, "uneven must be one of drop, pad, keep, but got 'half'"),
        ({"count": 0}, "1 <= count must hold, but got count=0"),
        ({"rank": 2, "world_size": 2}, "0 <= rank < world_size must hold"),
        ({"count": 1, "world_size": 2}, "count >= world_size must hold to drop the rest"),
        ({"seed": -1}, "0 <= seed and 0 <= epoch must hold"),
    ],
)
def test_bad_samplers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochSampler(**{"count": 9, **options})


def test_a_state_is_for_the_same_samples_only() -> None:
    sampler = EpochSampler(9, seed=1)
    state = sampler.state(3)
    for other, name in (
        (EpochSampler(8, seed=1), "count was 9 and is 8"),
        (EpochSampler(9, seed=2), "seed was 1 and is 2"),
        (EpochSampler(9, seed=1, shuffle=False), "shuffle was True and is False"),
    ):
        with pytest.raises(ValueError, match=name):
            other.restore(state)
    for position in (-4, 99):
        with pytest.raises(ValueError, match=rf"0 <= position <= 9 must hold, .*={position}"):
            sampler.restore({**state, "position": position})
    with pytest.raises(ValueError, match="has no count, epoch, position, seed, shuffle"):
        sampler.restore({})
    with pytest.raises(ValueError, match="0 <= seen <= 9 must hold, but got seen=10"):
        sampler.state(10)
    with pytest.raises(ValueError, match="0 <= seed and 0 <= epoch"):
        sampler.set_epoch(-1)
