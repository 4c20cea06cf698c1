"""The optimizer that a config names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam

from srsgd_ray.config import OPTIMIZERS, TrainConfig
from srsgd_ray.optim._buckets import fusable
from srsgd_ray.optim.srsgd import SRSGD
from srsgd_ray.optim.together import Together
from srsgd_ray.parts import Part, call, check_built_in, find_part, parameters, path_of_part

_NO_OPTIMIZER = (
    "optimizer must name a class of torch.optim.Optimizer, or a function that makes one, but "
    "{name!r} {found}. Name such a class, for example torch.optim:AdamW."
)


def build_optimizer(
    params: Iterable[Parameter] | Iterable[tuple[str, Parameter]],
    config: TrainConfig,
    steps_per_epoch: int,
) -> Optimizer:
    """The optimizer of ``config`` for ``params``: SRSGD, torch's own, a library's or the user's.

    One of the user's (an import path) is called with the parameters, with ``lr`` and
    ``weight_decay`` where it has such parameters, and with ``optimizer_options``. Parameters that
    it refuses (as torch's Muon does all but matrices) go to ``optimizer_fallback``, if there is
    one.

    Args:
        params: the network's parameters, with their names or without.
        config: its optimizer fields are read.
        steps_per_epoch: optimizer steps an epoch, which place SRSGD's stages.

    Raises:
        UnknownNameError: if there is no such optimizer.
        ValueError: for an option that it has not, or parameters that it refuses.
    """
    named = [p if isinstance(p, tuple) else (str(i), p) for i, p in enumerate(params)]
    path = path_of_part("optimizer", config.optimizer, OPTIMIZERS)
    if config.optimizer == "muon":
        return _muon(named, config, steps_per_epoch)
    if not path:
        return _built_in([p for _, p in named], config, steps_per_epoch)
    make = _closed(config.optimizer, find_part("optimizer", path))

    def own(params: list[Parameter]) -> Any:
        return call(
            "optimizer",
            config.optimizer,
            make,
            params,
            options=config.optimizer_options,
            offered={"lr": config.lr, "weight_decay": config.weight_decay},
        )

    try:
        found = own([p for _, p in named])
    except ValueError as error:
        refused = [name for name, p in named if _refuses(own, p)]
        if not refused or len(refused) == len(named):
            raise
        if not config.optimizer_fallback:
            raise ValueError(
                f"optimizer={config.optimizer!r} does not take all parameters of the network: "
                f"{str(error).rstrip('.')}. It refuses {len(refused)} of {len(named)}: "
                f"{', '.join(refused[:6])}{', ...' if len(refused) > 6 else ''}. Give "
                f"optimizer_fallback='adamw' (or any other), which is to update those."
            ) from error
        found = Together(
            own([p for name, p in named if name not in refused]),
            _fallback([pair for pair in named if pair[0] in refused], config, steps_per_epoch),
        )
    if not isinstance(found, Optimizer):
        made = f"made a {type(found).__name__}"
        raise ValueError(_NO_OPTIMIZER.format(name=config.optimizer, found=made))
    return found


def _fallback(
    named: list[tuple[str, Parameter]], config: TrainConfig, steps_per_epoch: int
) -> Optimizer:
    """The second optimizer, AdamW unless the config says else, of what the first leaves."""
    second = config.replace(
        optimizer=config.optimizer_fallback or "adamw",
        optimizer_options={},
        optimizer_fallback="",
        lr=config.fallback_lr or config.lr,
        effective_lr=0.0,
    )
    return build_optimizer(named, second, steps_per_epoch)


def _muon(
    named: list[tuple[str, Parameter]], config: TrainConfig, steps_per_epoch: int
) -> Optimizer:
    """Muon for hidden matrices, the second optimizer for the rest (https://kellerjordan.github.io/posts/muon).

    A convolution's kernels are the matrix (outputs, inputs times pixels). The first and the last
    matrix of the network, its input layer and its head, are left to the second optimizer, or
    instead all whose names match one of the patterns in the option ``rest``.
    """
    options = {"use_adjusted_lr": True, **config.optimizer_options}
    matrices = [name for name, p in named if p.ndim > 1 and 1 < p.shape[0] < p.numel()]
    rest = {*matrices[:1], *matrices[-1:]}
    if "rest" in options:
        rest = set()
        for pattern in options.pop("rest"):
            found = [name for name in matrices if fnmatchcase(name, pattern)]
            rest.update(found)
            if not found:
                raise ValueError(
                    f"optimizer_options.rest must name matrices of the network, but {pattern!r} "
                    f"names none. They are {', '.join(matrices)}."
                )
    hidden = [name for name in matrices if name not in rest]
    if not hidden:
        raise ValueError(
            f"optimizer='muon' needs a hidden matrix, but the network's are {', '.join(matrices)}, "
            f"of which the first and the last (or what optimizer_options.rest names) are left to "
            f"optimizer_fallback. Name another rest, such as ['head.*'], or another optimizer."
        )
    make = find_extra("pytorch_optimizer:Muon", "optimizer='muon'")
    # It takes any keyword without a word, and has an AdamW of its own, which is not used here.
    others = [name for name in parameters(make)[0] if name.startswith("adamw_")]
    check_built_in("optimizer", "muon", Part("", make), options, dict.fromkeys(("params", *others)))
    muon = make(
        [{"params": [p for name, p in named if name in hidden], "use_muon": True}],
        lr=config.lr,
        weight_decay=config.weight_decay,
        **options,
    )
    left = [pair for pair in named if pair[0] not in hidden]
    return Together(muon, _fallback(left, config, steps_per_epoch))


def find_extra(path: str, what: str) -> Callable[..., Any]:
    """What ``path`` names in a package that comes with the extra ``optimizers``, for ``what``."""
    if find_spec(path.partition(":")[0]) is None:
        raise ValueError(
            f"{what} needs the package {path.partition(':')[0]}, which is not installed here. "
            f"Run pip install 'srsgd-ray[optimizers]', on every node."
        )
    return find_part("optimizer", path)


def _closed(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """``make``, unless its step needs a closure, which the loop does not give."""
    if isinstance(make, type) and not issubclass(make, Optimizer):
        raise ValueError(_NO_OPTIMIZER.format(name=name, found=f"is {make.__name__}"))
    step = getattr(make, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if callable(step) else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"an optimizer must make its step without a closure, but optimizer={name!r} needs "
            f"one. Choose another, for example torch.optim:AdamW."
        )
    return make


def _refuses(make: Callable[[list[Parameter]], Any], param: Parameter) -> bool:
    try:
        make([param])
    except ValueError:
        return True
    return False


def _built_in(params: list[Parameter], config: TrainConfig, steps_per_epoch: int) -> Optimizer:
    """A built-in optimizer: some options are its knobs', the rest is up to the user."""
    kind, options_of = _BUILT_IN[config.optimizer]
    own = {"weight_decay": config.weight_decay, **options_of(config, steps_per_epoch)}
    for name in config.optimizer_options:
        if name in own:
            raise ValueError(
                f"optimizer={config.optimizer!r} has its {name} from other knobs, but got "
                f"optimizer_options with {name}. Set momentum, beta1, beta2 or restart_... instead."
            )
    made = find_extra(kind, f"optimizer={config.optimizer!r}") if isinstance(kind, str) else kind
    if made in (SGD, Adam, AdamW) and all(map(fusable, params)):
        own["fused"] = True  # otherwise torch chooses
    options = {**own, **config.optimizer_options}
    found: Optimizer = call(
        "optimizer", config.optimizer, made, params, config.lr, options=options, offered={}
    )
    return found


def _restart(config: TrainConfig, steps_per_epoch: int) -> dict[str, Any]:
    return {"restart": config.restart_schedule(steps_per_epoch)}


def _betas(config: TrainConfig, _: int) -> dict[str, Any]:
    return {"betas": (config.beta1, config.beta2)}


# The class or an extra's import path, and which of its options are knobs.
_Kind = type[Optimizer] | str
_BUILT_IN: dict[str, tuple[_Kind, Callable[[TrainConfig, int], dict[str, Any]]]] = {
    "srsgd": (SRSGD, _restart),
    "nesterov_no_restart": (SRSGD, _restart),
    "adaptive_restart": (SRSGD, lambda *args: {**_restart(*args), "adaptive": True}),
    "sgd": (SGD, lambda config, _: {"momentum": config.momentum, "nesterov": False}),
    "sgd_nesterov": (
        SGD,
        # torch refuses Nesterov without momentum, which is plain SGD.
        lambda config, _: {"momentum": config.momentum, "nesterov": config.momentum > 0},
    ),
    "sgd_plain": (SGD, lambda *_: {"momentum": 0.0, "nesterov": False}),
    "adam": (Adam, _betas),
    "adamw": (AdamW, _betas),
    "radam": (RAdam, _betas),
    "schedule_free_sgd": (
        "schedulefree:SGDScheduleFree",
        lambda config, _: {"momentum": config.momentum},
    ),
    "schedule_free_adamw": ("schedulefree:AdamWScheduleFree", _betas),
}
