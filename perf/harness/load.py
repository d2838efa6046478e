"""The load: `inject`, told what a scenario wants."""

from . import stage

SENDER = "sender@perf.test"


def domain(scenario, number):
    """Of the recipients; `number` is the placeholder `{d}`, or what stands for it: five digits, from 0."""
    return "sink.test" if scenario.destinations == 1 else f"d{number}.sink.test"


def inject(place, port, scenario, messages, first=0, rate=0.0, stamp=True):
    """Sends `messages`, numbered from `first`; what it measured. A message that was not acknowledged voids the run."""
    arguments = [
        "--to", f"127.0.0.1:{port}", "--connections", min(scenario.connections_in, messages), "--messages", messages,
        "--bytes", scenario.message_bytes, "--mode", scenario.mode, "--first", first, "--rate", rate,
        "--from", SENDER, "--rcpt", "user{n}@" + domain(scenario, "{d}"), "--destinations", scenario.destinations,
    ]
    if stamp:
        arguments.append("--stamp")
    told = place.answer(place.tool("inject", *arguments))
    if told["failed"] or told["unsent"]:
        raise stage.Void(f"the injector: {told['failed']} failed, {told['unsent']} unsent: {told['errors'][:1]}")
    return told
