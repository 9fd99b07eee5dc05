"""Files of data sets: images, JSON, pickles and segmentations, read defensively."""
