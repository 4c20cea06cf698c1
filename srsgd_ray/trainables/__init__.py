"""What a trial can run: image classification, the paper's quadratic, the minefield.

Each is an instance of :class:`srsgd_ray.trainable.Trainable`, as a user's own is; the engine knows
none of them by name.
"""
