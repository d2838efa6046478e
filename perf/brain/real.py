#!/usr/bin/env python3
"""Real: the finish that `staffetta plan` predicts for a world, beside that of an engine that sends to the world on loopback.

Needs Python 3.11. Each world is played by the real engine against `staffetta sink --world`, with the configuration that the
prediction was made from: the world's sources, and the limits that its providers document. Exit status 1 when a prediction is
wrong by more than a tenth."""

import argparse
import concurrent.futures
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))
from harness import build, facts, group, stage  # noqa: E402  (they stand one directory up)
from harness.place import Place, stop  # noqa: E402
from harness.senders.control import Control  # noqa: E402

# What is taken where nothing is documented, and the most connections that learning may come to: as the prediction has them.
CONNECTIONS, MESSAGES_PER_CONNECTION, RECIPIENTS_PER_MESSAGE, PIPELINE_DEPTH = 10, 100, 50, 1
CONNECTIONS_MAX, CONNECTIONS_GROWTH = 40, 8
# The engine reads replies as those of the provider whose name a provider's name begins with; the prediction reads them by manner.
SPOKEN_BY = {"libero": "italiaonline"}
ERROR_MAX = 0.1
LOOK_S = 0.05


class World:
    """A world file, as far as the engine's operator knows it."""

    def __init__(self, file):
        self.file = pathlib.Path(file).resolve()
        self.text = tomllib.loads(self.file.read_text())
        self.name = self.text["name"]
        self.providers = self.text["provider"]
        self.sources = self.text["source"]
        if len(self.text.get("campaign", [])) != 1 or self.text.get("stream"):
            sys.exit(f"{file}: a world is played for real when it has one campaign and no stream")
        self.campaign = self.text["campaign"][0]
        for provider in self.providers:
            manner = provider.get("manner", "plain")
            if manner != "plain" and not provider["name"].startswith(SPOKEN_BY.get(manner, manner)):
                sys.exit(f"{file}: the name of {provider['name']} has to begin with {SPOKEN_BY.get(manner, manner)}")

    def domain(self, provider):
        return provider["domains"][0]

    def documented(self, provider):
        """What the provider tells senders; the truth where it says nothing of its own."""
        said = provider.get("documented", {})
        if said is False:
            return {}
        keys = ("connections", "rate", "messages_per_connection", "recipients_per_message", "pipeline_depth")
        truth = {key: provider[key] for key in keys if key in provider}
        return {**truth, **said}

    def configuration(self, directory, port, doors, shards):
        """The world's sending side as an operator would write it; `doors` has the sink's port of each provider."""
        text = f"""
[node]
name = "engine.perf.test"
data_dir = "{directory}/data"
control = "{directory}/control.sock"
shards = {shards}
[spool]
min_free = "100MiB"
[[smtp_listener]]
address = "127.0.0.1:{port}"
"""
        for source in self.sources:
            text += f'[[source]]\nname = "{source["name"]}"\nip = "{source["ip"]}"\n'
        for provider in self.providers:
            said, domain = self.documented(provider), self.domain(provider)
            connections = said.get("connections", CONNECTIONS)
            text += f"""
[[route]]
domain = "{domain}"
hosts = ["127.0.0.1:{doors[provider["name"]]}"]
tls = "off"
[provider."{provider["name"]}"]
domains = ["{domain}"]
connections = {connections}
connections_max = {max(connections * CONNECTIONS_GROWTH, CONNECTIONS_MAX)}
rate = "{said.get("rate", "unlimited")}"
rate_max = "unlimited"
messages_per_connection = {said.get("messages_per_connection", MESSAGES_PER_CONNECTION)}
recipients_per_message = {said.get("recipients_per_message", RECIPIENTS_PER_MESSAGE)}
pipeline_depth = {said.get("pipeline_depth", PIPELINE_DEPTH)}
"""
        return text

    def recipients(self, counts):
        """The list, its providers mixed; `counts` by provider."""
        rows = []
        for provider in self.providers:
            count = counts[provider["name"]]
            rows += [((n + 0.5) / count, f"u{n:06d}@{self.domain(provider)}") for n in range(count)]
        return "email\n" + "".join(f"{address}\n" for _, address in sorted(rows))


class Run(Place):
    """The place of one run: the sink, the engine and what they read and write."""

    def __init__(self, binary):
        super().__init__("staffetta-real-")
        self.binary = str(binary)

    def start(self, *arguments):
        """A process that has said `ready`; and what it said. Nobody may connect to the sink before: its clock would begin."""
        log = f"{arguments[0]}.log"
        process = self.begin([self.binary, *map(str, arguments)], log, stdout=subprocess.PIPE)
        line = process.stdout.readline()
        if "ready" not in line:
            raise RuntimeError(f"{arguments[0]} did not start: {line}{(self.dir / log).read_text()}")
        return process, line

    def tell(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout


def predicted(binary, world, seeds):
    """What is predicted with each seed, the middle one first."""
    plans = []
    for seed in range(1, seeds + 1):
        command = [str(binary), "plan", "--world", str(world.file), "--seed", str(seed), "--round-trip", "0ms", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"plan failed: {done.stderr}")
        plans.append(json.loads(done.stdout)["plans"][0])
        if plans[-1]["speed"]["finish_s"] is None:
            raise RuntimeError(f"{world.name}: no end is predicted within the world's duration")
    return sorted(plans, key=lambda plan: abs(finish(plan) - statistics.median(finish(plan) for plan in plans)))


def finish(plan):
    return plan["speed"]["finish_s"]


def counts_of(plan):
    """How many recipients each provider has: those of the prediction, which draws them by the shares of the campaign."""
    counts = {provider["name"]: provider["delivered"] for provider in plan["providers"]}
    if sum(counts.values()) != plan["books"]["accepted"]:
        raise RuntimeError("some are not delivered in the prediction; a world for this must take all")
    return counts


def wait_for_the_end(control, count, seconds):
    """The moments at which nine tenths and all have an outcome."""
    begun, nine_tenths = time.monotonic(), None
    while True:
        ledger, now = control.get("/v1/ledger"), time.monotonic()
        done = sum(ledger[name] for name in ("delivered", "bounced", "expired", "cancelled", "suppressed"))
        if nine_tenths is None and ledger["delivered"] >= 0.9 * count:
            nine_tenths = now
        if done >= count:
            return nine_tenths, now, ledger
        if now - begun > seconds:
            raise RuntimeError(f"no end: {ledger}\n{json.dumps(control.get('/v1/queue'))}")
        time.sleep(LOOK_S)


def real(options, world, plan, number):
    """One run of the engine; seconds, and what the receivers counted."""
    counts = counts_of(plan)
    with Run(options.binary) as run:
        listen = [argument for provider in world.providers for argument in ("--listen", f"{provider['name']}=127.0.0.1:0")]
        sink, line = run.start(
            "sink", "--world", world.file, "--seed", number, *listen, "--ids", run.dir / "ids", "--json", "--quiet")
        ports = re.findall(r"127\.0\.0\.1:(\d+)", line)
        doors = {provider["name"]: port for provider, port in zip(world.providers, ports, strict=True)}
        config = run.dir / "staffetta.toml"
        config.write_text(world.configuration(run.dir, stage.free_port(), doors, options.shards))
        engine, _ = run.start("serve", "--config", config)
        (run.dir / "list.csv").write_text(world.recipients(counts))
        body = "".join(f"<p>Paragraph {n} of what is new this week.</p>\n" for n in range(world.campaign.get("size", 40_000) // 45))
        (run.dir / "news.html").write_text(f"<html><head><title>News</title></head><body>\n{body}</body></html>\n")
        control = Control(run.dir / "control.sock")
        cpu, begun, begun_ms = group.process_seconds(engine.pid), time.monotonic(), time.time() * 1000
        run.tell(
            "send", "--config", config, "--from", f"sender@{world.campaign['identity']}", "--template", run.dir / "news.html",
            "--recipients", run.dir / "list.csv", "--list-unsubscribe", "https://perf.test/u", "--class", "bulk", "--detach", "--json")
        handed = time.monotonic()
        try:
            nine_tenths, end, ledger = wait_for_the_end(control, sum(counts.values()), plan["speed"]["finish_s"] * 3 + 60)
        finally:
            if options.keep:
                keep(run, options.keep, f"{world.name}-{number}", config)
        cpu = group.process_seconds(engine.pid) - cpu
        stop(engine)
        received = json.loads(stop(sink).splitlines()[-1])
        if ledger["delivered"] != sum(counts.values()) or received["duplicates"]:
            raise RuntimeError(f"not all were delivered once: {ledger}, {received['duplicates']} duplicates")
        return {
            "finish_s": round(end - begun, 2),
            "nine_tenths_s": round(nine_tenths - begun, 2),
            "handed_over_s": round(handed - begun, 2),
            "engine_cpu_s": round(cpu, 2),
            "providers": by_provider(world, run.dir / "ids", begun_ms, received),
        }


def keep(run, directory, name, config):
    """What tells the story of a run, for whoever wants to know why."""
    kept = pathlib.Path(directory) / name
    kept.mkdir(parents=True, exist_ok=True)
    for what in (["decisions"], ["queue", "ls"], ["reputation"]):
        done = subprocess.run([run.binary, *what, "--config", str(config), "--json"], capture_output=True, text=True)
        (kept / f"{'-'.join(what)}.json").write_text(done.stdout + done.stderr)
    for file in ("serve.log", "sink.log", "ids", "staffetta.toml"):
        if (run.dir / file).exists():
            shutil.copy(run.dir / file, kept / file)


def by_provider(world, ids, begun_ms, received):
    last = {}
    for line in ids.read_text().splitlines():
        at_ms, _, recipient, *_ = line.split()
        last[recipient.rsplit("@", 1)[1]] = (int(at_ms) - begun_ms) / 1000
    return {
        provider["name"]: {
            "finish_s": round(last.get(world.domain(provider), 0.0), 2),
            "deferred": received["providers"][provider["name"]]["deferred"],
            "turned_away": received["providers"][provider["name"]]["turned_away"],
            "connections": received["providers"][provider["name"]]["connections"],
            "causes": received["providers"][provider["name"]]["causes"],
        }
        for provider in world.providers
    }


def compared(world, plans, runs):
    """The median of the predictions beside the median of the runs."""
    result = {"name": world.name, "recipients": plans[0]["books"]["accepted"]}
    for of, name in (("finish_s", ""), ("nine_tenths_s", "nine_tenths_")):
        ahead = statistics.median(plan["speed"][of] for plan in plans)
        after = statistics.median(run[of] for run in runs)
        result |= {f"{name}predicted_s": round(ahead, 2), f"{name}real_s": round(after, 2), f"{name}error": round((ahead - after) / after, 4)}
    result["providers"] = [
        {
            "name": name,
            "recipients": plans[0]["providers"][index]["delivered"],
            "predicted_s": round(statistics.median(plan["providers"][index]["finish_s"] for plan in plans), 2),
            "real_s": round(statistics.median(run["providers"][name]["finish_s"] for run in runs), 2),
            "predicted_refusals": statistics.median(plan["providers"][index]["rate_limited"] for plan in plans),
            "real_refusals": statistics.median(sum(run["providers"][name]["causes"].values()) for run in runs),
        }
        for index, name in enumerate(provider["name"] for provider in plans[0]["providers"])
    ]
    return result | {"predictions": [round(finish(plan), 2) for plan in plans], "runs": runs}


def table(worlds):
    row = "{:<20} {:>11} {:>8} {:>7}  {:>11} {:>8} {:>7}  {}".format
    lines = [row("world", "predicted", "real", "error", "9/10 pred.", "real", "error", "")]
    for world in worlds:
        lines.append(row(
            world["name"], world["predicted_s"], world["real_s"], f"{world['error']:+.1%}", world["nine_tenths_predicted_s"],
            world["nine_tenths_real_s"], f"{world['nine_tenths_error']:+.1%}",
            f"predictions {min(world['predictions'])} to {max(world['predictions'])}, "
            f"runs {' '.join(str(run['finish_s']) for run in world['runs'])}"))
        for provider in world["providers"]:
            error = (provider["predicted_s"] - provider["real_s"]) / max(provider["real_s"], 0.01)
            lines.append(row(
                f"  {provider['name']}", provider["predicted_s"], provider["real_s"], f"{error:+.1%}", "", "", "",
                f"refusals: {provider['predicted_refusals']:.0f} predicted, {provider['real_refusals']:.0f} real"))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, default=build.built("release") / "staffetta")
    parser.add_argument("--worlds", type=pathlib.Path, nargs="+", default=sorted((HERE / "real").glob("*.toml")), metavar="FILE")
    parser.add_argument("--runs", type=int, default=3, help="of each world; their median counts")
    parser.add_argument("--predictions", type=int, default=9, help="of each world, each with its own seed; their median counts")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--one-by-one", action="store_true", help="play the worlds one after the other, not side by side: they mostly wait")
    parser.add_argument("--predict", action="store_true", help="only print what is predicted")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="keep logs, decisions and what arrived of each run here")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the result here")
    options = parser.parse_args()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is missing: cargo build --release -p staffetta, or give --binary")
    worlds = [World(file) for file in options.worlds]
    plans = [predicted(options.binary, world, options.predictions) for world in worlds]
    if options.predict:
        for world, ahead in zip(worlds, plans):
            print(world.name, sorted(round(finish(plan), 2) for plan in ahead), json.dumps(ahead[0]["providers"]))
        return

    def play(world, ahead):
        runs = []
        for number in range(1, options.runs + 1):
            runs.append(real(options, world, ahead[0], number))
            print(f"{world.name} run {number}: {runs[-1]['finish_s']} s, {finish(ahead[0]):.1f} s predicted", file=sys.stderr, flush=True)
        return compared(world, ahead, runs)

    with concurrent.futures.ThreadPoolExecutor(1 if options.one_by_one else len(worlds)) as players:
        results = list(players.map(play, worlds, plans))
    print(table(results))
    result = {"commit": facts.commit(), "machine": facts.machine(), "shards": options.shards, "worlds": results}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    short = [{key: world[key] for key in ("name", "predicted_s", "real_s", "error")} for world in results]
    print(json.dumps({"worlds": short}))
    sys.exit(any(abs(world["error"]) > ERROR_MAX for world in results))


if __name__ == "__main__":
    main()
