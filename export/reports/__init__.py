"""Figures for people: charts, the report of an evaluation, the tables of a ladder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
