"""Which learning rate suits an optimizer? The least that a fair baseline is tuned in."""

from optuna.distributions import FloatDistribution

from srsgd_ray.search_spaces.space import SearchSpace

LEARNING_RATE = SearchSpace(
    name="learning_rate",
    question="Which learning rate gives the lowest validation error?",
    ranges={"lr": FloatDistribution(1e-3, 1.0, log=True)},
    grid={"lr": (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)},
)
