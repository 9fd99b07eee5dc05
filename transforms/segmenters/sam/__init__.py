"""Segment Anything with segment-anything's weights, batched over images and targets."""
