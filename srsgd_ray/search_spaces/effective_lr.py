"""Is it the restart frequency that matters, or the effective learning rate that comes with it?

A constant gradient is amplified (P + 7)/8 times over a period of P steps, so a search of F at a
fixed learning rate also searches the effective learning rate. Here the two are searched apart:
``effective_lr`` sets ``lr``, whatever P is. P is the same in all stages.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from srsgd_ray.search_spaces.space import SearchSpace

EFFECTIVE_LR_AND_PERIOD = SearchSpace(
    name="effective_lr_and_period",
    question="Which period P is best, if the effective learning rate is chosen by itself?",
    ranges={
        "effective_lr": FloatDistribution(0.01, 10.0, log=True),
        "restart_f1": IntDistribution(1, 300, log=True),
        "restart_kind": CategoricalDistribution(("constant",)),
    },
    grid={
        "effective_lr": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "restart_f1": (1, 3, 10, 30, 100, 300),
        "restart_kind": ("constant",),
    },
)
