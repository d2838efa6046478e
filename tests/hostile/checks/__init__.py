"""The hostile checks; each file has `run(stage)` and says in its first line what it proves."""
