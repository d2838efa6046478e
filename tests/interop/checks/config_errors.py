"""Every error of a configuration is told at once, with its line and its cure; `serve` refuses it with status 1."""

import json

BAD = """\
[node]
data_dir = "data"
shards = "two"
colour = "green"

[spool]
segment = "256Mib"

[[smtp_listener]]
address = "127.0.0.1"
trusted = ["127.0.0.0/33"]

[[source]]
name = "a"
ip = "127.0.0.300"

[[pool]]
name = "p"
sources = ["nobody"]

[class.bulk]
expiry = "3 fortnights"

[class.urgent]
weight = 2

[[route]]
domain = "example.test"

[provider.slow]
rate = "100 per second"

[delivery]
port = 25
"""
# What is wrong, by line and a word that the complaint must hold.
PLANTED = {3: "shards", 4: "colour", 7: "segment", 10: "address", 11: "trusted", 15: "ip", 19: "nobody", 22: "expiry", 24: "urgent",
           27: "hosts", 31: "rate", 33: "delivery"}


def run(stage):
    config = stage.write("bad.toml", BAD)
    shown = stage.run([stage.options.binary, "check", "--config", config])
    told = stage.run([stage.options.binary, "check", "--config", config, "--json"])
    problems = json.loads(told.stdout)["problems"]
    errors = [one for one in problems if one["severity"] == "error"]
    by_line = {}
    for one in errors:
        by_line.setdefault(one["line"], []).append(f'{one["key"]} {one["what"]} {one["cause"]} {one["cure"]}')
    for line, word in PLANTED.items():
        if not any(word in text for text in by_line.get(line, [])):
            stage.fact(f"the error of line {line} (`{word}`) is told", False, told=by_line)
    found = sum(any(word in text for text in by_line.get(line, [])) for line, word in PLANTED.items())
    stage.fact("all errors are told at once", found == len(PLANTED), planted=len(PLANTED), told=len(errors), found=found)
    stage.fact("each has line and cure", all(one["line"] > 0 and one["cure"] for one in errors), example=errors[0] if errors else None)
    lines = sum(f"bad.toml:{line}" in shown.stdout for line in PLANTED)
    stage.fact("the text for people has them too", lines == len(PLANTED), lines=lines)
    stage.fact("check ends with status 1", shown.returncode == told.returncode == 1, status=shown.returncode)
    served = stage.run([stage.options.binary, "serve", "--config", config], 20)
    stage.fact("serve refuses it with status 1", served.returncode == 1 and "ready" not in served.stdout, status=served.returncode,
               said=served.stderr.strip()[:200])
    absent = stage.run([stage.options.binary, "serve", "--config", stage.path("none.toml")], 20)
    stage.fact("a file that is not there is named", absent.returncode == 1 and "none.toml" in absent.stderr, said=absent.stderr.strip())
    usage = stage.run([stage.options.binary, "serve"], 20)
    stage.fact("wrong usage has status 2", usage.returncode == 2, status=usage.returncode)
