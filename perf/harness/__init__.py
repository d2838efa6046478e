"""The runner of `perf/run`: one subject per file. It measures; what is measured is written in perf/scenarios."""
