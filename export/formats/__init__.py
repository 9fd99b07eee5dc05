"""File formats that other tools read: COCO, PNG masks, prediction files, traces."""
