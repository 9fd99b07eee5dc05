from .job import do_bench as do_bench
