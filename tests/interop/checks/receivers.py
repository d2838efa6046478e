"""Postfix, Exim and OpenSMTPD take 2,000 messages at each depth of pipelining, some recipients refused in between: each once."""

import collections
import concurrent.futures
import time

from harness.engine import Engine, balances, route
from harness.foreign import Exim, OpenSmtpd
from harness.postfix import Postfix
from harness.receivers import Sink
from harness.stage import Failed, Skipped

DEPTHS = [1, 4, 16]
# One of so many recipients does not exist.
UNKNOWN_EVERY = 11
BODY = "The quick brown fox jumps over the lazy dog, again and again.\r\n" * 30
REFUSE = """
smtpd_recipient_restrictions = check_recipient_access regexp:{base}/etc/unknown, permit
smtpd_delay_reject = no
"""


def run(stage):
    told = []
    for name, start, protections in receivers():
        try:
            server = start(stage)
        except Skipped as error:
            stage.say(f"{name} is left out: {error}")
            told.append(f"{name}: {error}")
            continue
        for tls in protections:
            for depth in DEPTHS:
                one(stage, name, server, tls, depth)
        server.close()
    if len(told) == 3:
        raise Skipped("; ".join(told))


def receivers():
    both = ("off", "opportunistic")
    return (("postfix", start_postfix, both), ("exim", start_exim, both), ("opensmtpd", start_opensmtpd, ("off",)))


class Server:
    """A receiver with what it counts."""

    def __init__(self, receiver, taken):
        self.receiver, self.port, self.taken = receiver, receiver.port, taken

    def close(self):
        if isinstance(self.receiver, Postfix):
            self.receiver.stop()


def start_postfix(stage):
    postfix = Postfix(stage)
    (postfix.base / "etc/unknown").write_text("/^nobody/ 550 5.1.1 User unknown\n")
    with open(postfix.base / "etc/main.cf", "a") as settings:
        settings.write(REFUSE.format(base=postfix.base))
    postfix.start()
    return Server(postfix, lambda: postfix.read().sent)


def start_exim(stage):
    exim = Exim(stage)
    return Server(exim, lambda: exim.read().taken)


def start_opensmtpd(stage):
    relayed = OpenSmtpd(stage, Sink(stage, name="behind-opensmtpd"))
    return Server(relayed, lambda: relayed.read().taken)


def one(stage, name, server, tls, depth):
    """2,000 messages that become due together."""
    label, count = f"{name}-{tls}-{depth}", stage.options.each
    limits = f"\n[provider.routed]\nconnections = 4\npipeline_depth = {depth}\n[class.transactional]\nretry = [\"2s\", \"5s\"]\nexpiry = \"5m\"\n"
    back = Sink(stage, name=f"back-{label}")
    engine = Engine(stage, route(server.port, f"{label}.test", tls) + route(back.port, "back.test") + limits, name=f"engine-{label}")
    engine.start()
    known, unknown = addresses(label, count)
    start = time.time() + 2 + count / 500
    submit(engine, known + unknown, start)
    taken = collections.Counter()
    ledger = engine.wait_empty(240, accepted=count + len(unknown))
    seconds = time.time() - start

    def arrived():
        taken.clear()
        taken.update({address: number for address, number in server.taken().items() if address.endswith(f"@{label}.test")})
        return len(taken) >= len(known)
    try:
        stage.wait("the receiver's account", arrived, 60, every=0.5)
    except Failed:
        pass
    lost, repeated = len(set(known) - set(taken)), sum(taken.values()) - len(taken)
    strangers = set(taken) - set(known)
    stage.fact(f"{name} at depth {depth}, {'STARTTLS' if tls != 'off' else 'in clear'}: each message once, the unknown ones bounced",
               not (lost or repeated or strangers) and balances(ledger) and ledger["bounced"] == len(unknown) == back.settled().messages,
               taken=len(taken), lost=lost, repeated=repeated, refused=len(unknown), bounced=ledger["bounced"], unknown_ends=ledger["unknown_retries"],
               tls=how_encrypted(engine), seconds=round(seconds, 1))
    engine.stop()
    back.process.terminate()


def addresses(label, count):
    known, unknown = [], []
    for number in range(count):
        is_unknown = number % UNKNOWN_EVERY == UNKNOWN_EVERY // 2
        (unknown if is_unknown else known).append(f"{'nobody' if is_unknown else 'u'}{number}@{label}.test")
    return known, unknown


def submit(engine, all_addresses, start):
    """One message for each, mixed, to leave at `start`."""
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start)) + f".{int(start % 1 * 1000):03}Z"

    def hand_over(address):
        asked = {"from": "ann@back.test", "to": [address], "subject": "hello", "text": BODY, "not_before": when}
        status, answer = engine.http_ask("POST", "/v1/messages", asked)
        if status != 202:
            raise Failed(f"{address} was refused: {status} {answer}")
    mixed = sorted(all_addresses, key=lambda address: int("".join(filter(str.isdigit, address.split("@")[0]))))
    with concurrent.futures.ThreadPoolExecutor(8) as hands:
        list(hands.map(hand_over, mixed))


def how_encrypted(engine):
    """How deliveries were protected, from the feed, with their number."""
    status, page = engine.http_ask("GET", "/v1/events?limit=10000")
    if status != 200:
        return {}
    return dict(collections.Counter(event["tls"] or "clear" for event in page["events"] if event["event"] == "delivered" and "back.test" not in event["address"]))
