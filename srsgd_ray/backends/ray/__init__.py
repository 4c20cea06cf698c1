"""Ray: a slot is a Tune actor with a warm group of Ray Train workers, or the actor alone."""
