"""Ray: a slot is a Tune actor with a warm group of workers, with one process, or alone.

In come a study's trials and a :class:`~srsgd_ray.backends.capacity.Plan` (``--slots`` and the
resources of a worker); out go rows and ends. ``backend`` starts the Tune run, with as many trials
at a time as there are slots. ``tuning`` is Tune's searcher, scheduler and callback, which ask the
study and report to it. ``slot`` is the Tune actor: it starts what runs trials, assigns it trial
after trial, and gives up a trial that is silent for too long or whose workers died too often.
Trials of several workers run in one TorchTrainer (``group``), those of one in a process of the Tune
actor's own (``process``). ``worker`` is what the workers do. ``channel`` lies between both: it
carries rows, and counts how often a trial was begun. ``cluster`` starts or joins Ray; ``head``
notices that no head answers, or no longer; ``nodes`` asks each node for the doctor; ``metrics``
tells Ray a study's numbers; ``abandoned`` frees what a killed driver left reserved, and ``left``
ends the processes that it left.
"""
