from .segmenter import SimpleClick as SimpleClick
