"""What may keep a study from running here: each look at it, and a cure that can be typed.

In come a results folder, an address of Ray and a storage; out go findings. ``machine`` looks at
this machine, ``left`` at what earlier sessions of Ray left on it, ``study`` at the folder of a
study, and ``places`` at the storage and at each node of a cluster. ``finding`` has the time limit
of each look. Nothing is changed, and what is written as a trial is deleted again.
"""

from srsgd_ray.doctor.finding import Finding, Look, examined

__all__ = ["Finding", "Look", "examined"]
