"""Studies: what is compared, at which budget; running, resuming and reporting it."""

from srsgd_ray.study.launch import launch
from srsgd_ray.study.run import Options, run_study
from srsgd_ray.study.spec import Arm, Study

__all__ = ["Arm", "Options", "Study", "launch", "run_study"]
