"""Records, protocols, errors and files: what every other package builds on."""
