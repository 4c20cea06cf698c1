"""Data sets that a config can name.

Each module here declares data sets: functions whose parameters are the knobs and options that they
have, with a name and the facts that a plan and the rules need (:func:`srsgd_ray.parts.data_set`). A
new file is found by itself. Names and facts need no torch, which a function imports when it is
called. Each returns a :class:`srsgd_ray.data.Dataset` that is not split yet, or another object with
the methods of :class:`srsgd_ray.data.Data`; :func:`srsgd_ray.data.load_dataset` calls it.
"""
