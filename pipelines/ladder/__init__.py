"""The job `hlmat ladder`: train, evaluate and compare each step of the method on held-out sets."""
