"""Studies: what is compared, at which budget; running, resuming and reporting it."""

from srsgd_ray.study.launch import launch
from srsgd_ray.study.result import StudyResult
from srsgd_ray.study.run import Options, run
from srsgd_ray.study.spec import Arm, Study

__all__ = ["Arm", "Options", "Study", "StudyResult", "launch", "run"]
