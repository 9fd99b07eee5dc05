"""Speed of training on this machine, of base building and of LLaMA-Factory.

    python -m benchmarks.training
    python -m benchmarks.training --fine-tuning out/mini_prm

Base building's step (`hlmat mini-base`) is compared with the plain way: transformers' own class on
one row for each text, with eager attention and torch's derivatives, and the same optimisers. With
the folder of a finished training, LLaMA-Factory is called with its own defaults and as `hlmat
train` calls it, on the same rows. Times are of the processor, medians of steps made in turn. The
share of the arithmetic is the time that the step's matrix products, convolutions and attention
would take at the rate of this machine's matrix product in the same precision, divided by the time
that the step takes.
"""
