"""The sampler ``rustuna``: TPE in Rust, on a copy of Optuna's trials that is kept from ask to ask.

rustuna's own way into Optuna converts all trials at each ask, which takes longer than Optuna's TPE.
It has no constant liar: what runs meanwhile is unknown to it, and so is what was pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from rustuna.samplers import SamplerContext


def check_installed() -> None:
    """Raise ValueError unless rustuna is there."""
    if find_spec("rustuna") is None:
        raise ValueError(
            "searcher 'rustuna' needs the package rustuna, which is not installed here. "
            "Run pip install 'srsgd-ray[rustuna]'."
        )


class _Copy:
    """An Optuna study in rustuna's memory, trial for trial under the same numbers."""

    def __init__(self, study: Study) -> None:
        from rustuna.converter import to_rustuna_directions
        from rustuna.storages import InMemoryStorage

        self.storage = InMemoryStorage()
        self.directions = to_rustuna_directions(study.directions)
        self.study = self.storage.create_new_study("copy", self.directions).id
        self.ids: list[int] = []
        self.open: set[int] = set()
        self.space = IntersectionSearchSpace()

    def bring_up(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in what is new, and what has ended since."""
        from rustuna.trial import TrialState as State

        for trial in trials[len(self.ids) :]:
            self.ids.append(self.storage.create_new_trial(self.study)._trial_id)
            self.open.add(trial.number)
        for number in sorted(self.open):
            trial, own = trials[number], self.ids[number]
            if not trial.state.is_finished():
                continue
            self.open.remove(number)
            if trial.state == TrialState.COMPLETE:
                for name, (spread, value) in _in_rust(trial).items():
                    self.storage.set_trial_param(own, name, spread, value)
                self.storage.set_trial_state_values(own, State.COMPLETE, trial.values)
            else:
                self.storage.set_trial_state_values(own, State.FAIL, None)

    def context(self, trial: FrozenTrial) -> SamplerContext:
        """Which trial is asked for."""
        from rustuna.samplers import SamplerContext

        return SamplerContext(
            study_id=self.study, trial_number=trial.number, trial_id=self.ids[trial.number],
            directions=self.directions,
        )  # fmt: skip


_COPIES: WeakKeyDictionary[BaseStorage, _Copy] = WeakKeyDictionary()  # a search has one study each


def _in_rust(trial: FrozenTrial) -> dict[str, tuple[Any, float]]:
    from rustuna.converter import to_rustuna_distribution

    return {
        name: (to_rustuna_distribution(spread), spread.to_internal_repr(trial.params[name]))
        for name, spread in trial.distributions.items()
    }


class RustTPE(BaseSampler):
    """rustuna's TPE for one trial; what it proposes depends on the seed and on ended trials only.

    Args:
        seed: of its draws.
        n_startup_trials: as Optuna's.
    """

    def __init__(self, seed: int, n_startup_trials: int) -> None:
        from rustuna.samplers import TPESampler

        self._sampler = TPESampler(seed=seed, n_startup_trials=n_startup_trials)

    def _copy(self, study: Study) -> _Copy:
        if study._storage not in _COPIES:
            _COPIES[study._storage] = _Copy(study)
        copy = _COPIES[study._storage]
        copy.bring_up(study._storage.get_all_trials(study._study_id, deepcopy=False))
        return copy

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The knobs that every trial had."""
        found = self._copy(study).space.calculate(study)
        return {name: spread for name, spread in found.items() if not spread.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All of them together."""
        from rustuna.converter import to_rustuna_distributions

        if not search_space:
            return {}
        copy, spreads = self._copy(study), to_rustuna_distributions(dict(search_space))
        drawn = self._sampler.sample_joint(copy.context(trial), copy.storage, spreads)
        return {name: search_space[name].to_external_repr(v) for name, v in drawn.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """One of the others."""
        from rustuna.converter import to_rustuna_distribution

        copy, spread = self._copy(study), to_rustuna_distribution(param_distribution)
        context = copy.context(trial)
        drawn = self._sampler.sample_independent(context, copy.storage, param_name, spread)
        return param_distribution.to_external_repr(drawn)
