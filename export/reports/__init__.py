"""Figures for people: charts, the report of an evaluation, the tables of a ladder."""
