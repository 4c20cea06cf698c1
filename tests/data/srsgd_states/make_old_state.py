"""Write the optimizer state of an older version, and what that version did next.

git archive faab692 srsgd_ray | tar x -C OLD
PYTHONPATH=OLD python tests/data/srsgd_states/make_old_state.py 5 tests/data/srsgd_states/0.1.0.pt
"""

import sys

import torch
from torch import nn

from srsgd_ray import restarts
from srsgd_ray.optim import SRSGD

STEPS, FILE = int(sys.argv[1]), sys.argv[2]
draw = torch.Generator().manual_seed(0)
params = [nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((3, 2), (4,))]
optimizer = SRSGD(
    [
        {"params": params[:1], "restart": restarts.linear(3, 2, [7]), "weight_decay": 0.01},
        {"params": params[1:], "lr": 0.05, "maximize": True},
    ],
    lr=0.1,
    restart=restarts.as_published(restarts.constant(4)),
)


def step() -> list[torch.Tensor]:
    for p in params:
        p.grad = torch.randn(p.shape, generator=draw)
    optimizer.step()
    return [p.grad for p in params]


for _ in range(STEPS):
    step()
state = {"state": optimizer.state_dict(), "weights": [p.detach().clone() for p in params]}
torch.save(state, FILE)  # before what follows changes it
state = torch.load(FILE, weights_only=True)
state |= {"grads": [], "then": []}
for _ in range(6):
    state["grads"].append(step())
    state["then"].append([p.detach().clone() for p in params])
torch.save(state, FILE)
