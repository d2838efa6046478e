"""Every behaviour at every stage, with and without pipelining, CHUNKING and TLS: each message ends as it must, and no rule is broken."""

import collections
import time

from harness.engine import BASE, Engine, balances, route
from harness.receivers import Sink
from rig import behaviours, sessions
from rig.letters import ONCE, Letter, expect, is_finished, problems, read_stories, submit
from rig.processes import at_rest, wait_for_sockets
from rig.sinks import Hostile, kept_by_recipient, ports

LIMITS = """
[class.transactional]
retry = ["1s", "2s", "3s", "4s"]
expiry = "{patience}s"
[class.personal]
retry = ["1s", "2s", "3s", "5s"]
expiry = "30s"
[provider.routed]
connections = 1
pipeline_depth = {depth}
[deliver]
connect_timeout = "5s"
idle_timeout = "2s"
reply_timeout = "10s"
ca_file = "{authority}"
"""
# Long enough for all letters to be handed over before the first one leaves.
LEAD = 10.0


class Case:
    """A destination with a port and a domain of its own."""

    def __init__(self, number, group, way, profile, letters, tls="opportunistic", connections=1, excused=(), encrypted=None, own=False):
        self.group, self.way, self.profile, self.tls, self.own = group, way, profile, tls, own
        self.connections, self.excused, self.encrypted = connections, excused, encrypted
        self.domain = f"c{number}.test"
        self.letters, self.port = list(letters(self.domain)), 0


def run(stage):
    cases = list(all_cases(stage.options))
    stage.say(f"{len(cases)} destinations, {sum(len(case.letters) for case in cases)} messages")
    sinks = receivers(stage, cases)
    back = Sink(stage, name="back")
    engine = Engine(stage, settings(stage, cases, back.port, sinks[0].authority()), base=BASE.replace('"64MiB"', '"32MiB"'))
    engine.start()
    opened = at_rest(engine.process.pid)
    start = time.time() + LEAD
    letters = [letter for case in cases for letter in case.letters]
    submit(engine, letters, start)
    stage.fact("all letters were handed over before the first one left", time.time() < start, lead_seconds=round(start - time.time(), 1))
    wait(stage, engine, letters, start, stage.options.patience)
    judge(stage, engine, cases, sinks)
    books(stage, engine, back, letters)
    # A TLS handshake may take two minutes.
    left = wait_for_sockets(engine.process.pid, opened["socket"], 130)
    stage.fact("every connection is closed at the end", left["socket"] <= opened["socket"], at_rest=dict(opened), left=dict(left))
    status, seconds = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status, seconds=round(seconds, 1))
    log = engine.log()
    stage.fact("nothing panicked", "panicked" not in log, lines=[line for line in log.splitlines() if "panicked" in line][:3])


def all_cases(options):
    """The two tables, multiplied by the ways to speak."""
    number = 0
    for behaviour in behaviours.table():
        if options.only not in behaviour.token:
            continue
        for way, profile in behaviours.offers():
            if behaviour.not_bdat and way.endswith("bdat"):
                continue
            number += 1
            yield Case(number, behaviour.token, way, profile, lambda domain: neighbours(behaviour, way, domain))
    for session in sessions.table():
        if options.only not in session.name:
            continue
        number += 1
        yield Case(number, session.name, "session", session.profile, lambda domain: of_session(session, domain), session.tls,
                   session.connections, session.excused, session.encrypted, session.own)


def neighbours(behaviour, way, domain):
    """Two letters, the one that meets the behaviour, two more: all at the same moment over one connection."""
    for place in range(5):
        if place != 2:
            yield Letter(f"w{place}.{domain}@back.test", {f"v{place}@{domain}": ONCE})
            continue
        wanted = expect("delivered") if behaviour.only_data and way.endswith("bdat") else behaviour.wanted
        in_sender = behaviour.at == "mail"
        sender = f"w2.{domain}+{behaviour.token}@back.test" if in_sender else f"w2.{domain}@back.test"
        address = f"v2@{domain}" if in_sender else f"v2+{behaviour.token}@{domain}"
        yield Letter(sender, {address: wanted}, hurry="personal", body=b"A letter with a body of some length.\r\n" * 20)


def of_session(session, domain):
    if callable(session.letters):
        for letter in session.letters(domain):
            letter.to = {address: wanted or session.wanted for address, wanted in letter.to.items()}
            yield letter
        return
    hurry = "personal" if "waits" in session.wanted.ends else "transactional"
    for number in range(session.letters):
        yield Letter(f"w{number}.{domain}@back.test", {f"v{number}@{domain}": session.wanted}, hurry=hurry)


def receivers(stage, cases):
    """One process for all ports, and one each for those that count by client address."""
    for case, port in zip(cases, ports(len(cases))):
        case.port = port
    shared = {case.port: case.profile for case in cases if not case.own}
    found = [Hostile(stage, shared)] if shared else []
    return found + [Hostile(stage, {case.port: case.profile}, f"own-{case.domain}", bodies=True) for case in cases if case.own]


def settings(stage, cases, back, authority):
    text = LIMITS.format(patience=stage.options.patience + 60, depth=stage.options.depth, authority=authority)
    text += route(back, "back.test")
    for case in cases:
        text += route(case.port, case.domain, case.tls)
        if case.connections > 1:
            text += f'\n[provider.{case.domain.split(".")[0]}]\ndomains = ["{case.domain}"]\nconnections = {case.connections}\n'
    return text


def wait(stage, engine, letters, start, patience):
    """Until all stories are at their end, or no patience is left."""
    time.sleep(max(0.0, start - time.time()) + 5)
    until = time.time() + patience
    while (left := read_stories(engine, letters)) and time.time() < until:
        waiting = [letter for letter in letters if not is_finished(letter)]
        if all("waits" in wanted.ends for letter in waiting for wanted in letter.to.values()) and time.time() > start + 60:
            break
        time.sleep(2)
    stage.say(f"{time.time() - start:.0f} s after the start {left} of {len(letters)} are not finished")


def judge(stage, engine, cases, sinks):
    """A fact for each behaviour over all its ways, one for TLS, one for violations."""
    kept = kept_by_recipient(sinks)
    groups = collections.defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    for name, group in groups.items():
        found = [f"[{case.way} {case.domain}] {what}" for case in group for letter in case.letters for what in problems(letter, kept)]
        found += [f"[{case.domain}] {what}" for case in group for what in wrongly_encrypted(case, kept)]
        stage.fact(name, not found, ways=len(group), wrong=len(found), **({"first": found[:4]} if found else {}))
    by_port = {case.port: case for case in cases}
    broken = collections.Counter()
    for sink in sinks:
        for event in sink.violations():
            case = by_port[event["port"]]
            if event["what"] not in case.excused:
                broken[f"{event['what']} ({event.get('param', event.get('verb', ''))}) at {case.group} {case.way}"] += 1
    stage.fact("no receiver saw a breach of the protocol", not broken, kinds=len(broken), first=dict(broken.most_common(8)))
    twice = collections.Counter()
    for case in cases:
        twice[case.group] += sum(max(0, len(kept.get(address, [])) - 1) for letter in case.letters for address in letter.to)
    stage.say(f"{sum(map(len, kept.values()))} were kept, {sum(twice.values())} of them again because their end was unknown: {dict(+twice)}")


def wrongly_encrypted(case, kept):
    if case.encrypted is None:
        return
    for letter in case.letters:
        for address in letter.to:
            if any(bool(message["tls"]) != case.encrypted for message in kept.get(address, [])):
                yield f"{address} came {'in clear' if case.encrypted else 'by TLS'}"


def books(stage, engine, back, letters):
    """The ledger, and a report to the sender of everything that ended badly."""
    ledger = engine.ledger()
    stage.fact("the ledger balances", balances(ledger), **ledger)
    failed = sum(one["state"] in ("bounced", "expired") for letter in letters for one in letter.told.values())
    told = back.settled().messages
    stage.fact("each failure was reported to its sender", told >= failed - ledger["queued"] and told > 0 or failed == 0, failed=failed, reports=told)
