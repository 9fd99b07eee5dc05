"""Jobs that apply a model to a data set's masks: filter bad ones, refine them."""
