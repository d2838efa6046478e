"""Scenarios: what is sent, how, and how much of it; read from perf/scenarios/*.toml and refused when anything is unknown."""

import dataclasses
import pathlib
import tomllib

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "scenarios"
KINDS = ("relay", "accept", "send", "campaign", "idle")
MODES = ("lockstep", "pipelined", "flight")
SCALES = ("shards", "destinations", "sites", "connections_out", "messages")


class Wrong(Exception):
    """A scenario that cannot be run as it is written."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One workload. Sizes in bytes, times in milliseconds."""

    name: str
    title: str
    kind: str
    messages: dict
    """Measured messages for each sender, waiting recipients of kind `idle`; `other` for those that are not named. Rates are compared, so a slow sender gets fewer."""
    quick_messages: dict
    message_bytes: int = 10_240
    """Of the message that is injected; of the HTML template for a campaign."""
    signed: bool = False
    """With DKIM, RSA-2048."""
    tls: bool = False
    """STARTTLS to the sink, which is not verified."""
    sink_latency_ms: int = 0
    connections_in: int = 20
    connections_out: int = 20
    destinations: int = 1
    """Domains of the recipients."""
    sites: int = 1
    """Receivers, as this engine sees them: so many addresses of the sink, to which the domains are routed in turn."""
    shards: int = 0
    """Threads of this engine that carry mail; 0 is its default."""
    scale: str = ""
    """The parameter that base and variants differ in, if the cost of a message is to be compared by it."""
    settle: int = 0
    """Of a full queue that drains: so many messages are sent before the figures begin, while connections are being opened."""
    pipeline_depth: int = 0
    """Transactions on the wire of one connection, for a sender that has such a setting; 0 is its default."""
    mode: str = "pipelined"
    """How the injector speaks."""
    load: float = 1.0
    """Part of the rate that the base variant reached: below 1 messages come evenly at that pace."""
    senders: tuple = ()
    """Only these; all when empty."""
    aim: dict = dataclasses.field(default_factory=dict)
    """What this engine is to reach on two cores shared with the tools: `at_least` and `at_most`, of figures."""
    order: int = 99
    """Place in the table."""
    extra: bool = False
    """Only run when it is asked for by name."""
    patience_s: int = 300
    """A run that takes longer has failed."""
    variant: str = ""
    """Name of the variant; empty for the base."""

    def __post_init__(self):
        self._check(self.kind in KINDS, f"kind is one of {', '.join(KINDS)}")
        self._check(self.mode in MODES, f"mode is one of {', '.join(MODES)}")
        self._check(0.0 < self.load <= 1.0, "load is above 0 and at most 1")
        self._check(self.message_bytes >= 600, "message_bytes is at least 600")
        self._check(1 <= self.destinations <= 99_999, "destinations is from 1 to 99999")
        self._check(self.kind != "idle" or self.senders == ("staffetta",), "kind idle is only for this engine")
        self._check(1 <= self.sites <= self.destinations, "sites is from 1 to destinations")
        self._check(self.sites == 1 or self.senders == ("staffetta",) and self.kind in ("relay", "accept", "send"), "sites is only for this engine's SMTP")
        self._check(0 <= self.shards <= 255, "shards is from 0 to 255")
        self._check(self.scale in ("", *SCALES), f"scale is one of {', '.join(SCALES)}")
        self._check(self.settle >= 0 and (self.kind == "send" or not self.settle), "settle is above 0, and only of kind send")
        self._check(set(self.aim) <= {"at_least", "at_most"}, "aim has at_least and at_most")
        for table in (self.messages, self.quick_messages):
            self._check("other" in table and min(table.values()) > 0, "messages name `other`, and are above 0")
            self._check(min(table.values()) >= 2 * self.settle, "settle is at most half of the messages")

    def _check(self, holds, rule):
        if not holds:
            raise Wrong(f"scenario {self.name}: {rule}")

    @property
    def label(self):
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def count(self, sender, quick):
        """Messages that are measured in one run of `sender`."""
        table = self.quick_messages if quick else self.messages
        return table.get(sender, table["other"])

    def concerns(self, sender):
        return not self.senders or sender in self.senders

    def size(self, sender, quick):
        """How large it is in what is scaled; none when nothing is."""
        return self.count(sender, quick) if self.scale == "messages" else getattr(self, self.scale, None) if self.scale else None

    def parameters(self):
        """What a reader of the result needs to know, as JSON."""
        kept = dataclasses.asdict(self)
        return {name: value for name, value in kept.items() if name not in ("title", "name", "variant", "extra", "order", "aim")}


def load(folder=FOLDER):
    """All scenarios by name in their order, each as the list of its base and its variants."""
    found = {}
    for file in sorted(folder.glob("*.toml")):
        found[file.stem] = read(file.stem, tomllib.loads(file.read_text()))
    return dict(sorted(found.items(), key=lambda one: one[1][0].order))


def read(name, table):
    """The base and the variants of one file."""
    variants = table.pop("variant", {})
    base = build(name, table)
    more = [build(name, {**table, "aim": {}, **changes}, variant) for variant, changes in variants.items()]
    return [base, *more]


def build(name, table, variant=""):
    known = {field.name for field in dataclasses.fields(Scenario)} - {"name", "variant"}
    unknown = sorted(set(table) - known)
    if unknown:
        raise Wrong(f"scenario {name}: unknown key {', '.join(unknown)}")
    values = {**table, "senders": tuple(table.get("senders", ()))}
    try:
        return Scenario(name=name, variant=variant, **values)
    except TypeError as error:
        raise Wrong(f"scenario {name}: {error}") from None


def scaled(scenario, messages):
    """The same with so many messages for every sender, and no aim: it is not the workload that the aim is for."""
    table = {"other": messages}
    return dataclasses.replace(scenario, messages=table, quick_messages=table, aim={}, settle=min(scenario.settle, messages // 2))
