"""Interactive segmentation tools behind the protocol `Segmenter`, one folder per tool."""
