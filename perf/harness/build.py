"""Builds what is measured, so that a fresh clone is enough."""

import os
import pathlib
import subprocess
import sys

from .stage import ROOT

PACKAGES = ("staffetta", "perf")


def programs(options, names):
    """The folder with these programs: the one that was given, or cargo's after a build. `is_given` tells which."""
    options.is_given = options.bin is not None
    folder = options.bin.resolve() if options.bin else build(options.profile, names)
    for name in names:
        if not (folder / name).exists():
            sys.exit(f"{folder / name} is missing; leave --bin out, and it is built")
    return folder


def build(profile, names):
    command = ["cargo", "build", "--quiet", "--profile", profile]
    for package in PACKAGES:
        command += ["-p", package]
    for name in names:
        command += ["--bin", name]
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode != 0:
        sys.exit("cargo could not build the programs")
    return built(profile)


def built(profile):
    """Where cargo puts the programs of a profile."""
    target = ROOT / pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return (target / ("debug" if profile == "dev" else profile)).resolve()
