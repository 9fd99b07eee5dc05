"""The loop that turns a target, a segmenter and a click policy into a trajectory."""
