"""One file per check; `run.py --list` says what each proves."""
