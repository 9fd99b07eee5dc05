"""A segmenter without weights: graph cuts on colour and contrast propose masks for each click."""
