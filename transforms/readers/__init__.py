"""One module per data set family, behind the protocol `DatasetReader`."""
