"""One module per interactive segmentation tool, behind the protocol `Segmenter`."""
