"""The runner's own tests; none needs a build: `python3 -m unittest discover -s perf -t perf`."""
