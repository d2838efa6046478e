"""The table: what a receiver does at one stage of one recipient's transaction, and what must become of that recipient.

The names are the receiver's own tokens. In each case some other letters go the same way over the same connection, before
and behind the recipient with the token: each of them must arrive once."""

import dataclasses

from .letters import BOUNCED, DELIVERED, WAITS, expect


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """`token` is put into the sender's address when `at` is `mail`, else into the recipient's. `only_data`: it shows only
    behind DATA, so with CHUNKING the recipient is delivered. `not_bdat`: the receiver cannot do it with CHUNKING."""
    token: str
    wanted: object
    only_data: bool = False
    not_bdat: bool = False

    @property
    def at(self):
        return "mail" if self.token.startswith(("mail", "dropmail", "rstmail", "stopreadmail")) else "rcpt"


# The words of the receiver decide the class: 450 greylisted, 550 no such user, 554 spam and so on.
CLASS = {
    "421": {"connection", "system"}, "450": {"greylist"}, "451": {"system"}, "452": {"system"},
    "500": {"protocol"}, "501": {"protocol"}, "502": {"protocol"}, "503": {"protocol"}, "555": {"protocol"},
    "550": {"recipient.unknown"}, "551": {"recipient.unknown", "recipient.disabled"}, "552": {"content.size"},
    "553": {"recipient.unknown"}, "554": {"content.spam"},
}
CODES = {
    "mail": ["421", "450", "451", "452", "501", "550", "552", "553", "554", "555"],
    "rcpt": ["421", "450", "451", "452", "500", "501", "502", "503", "550", "551", "552", "553", "554"],
    "data": ["421", "451", "452", "550", "554"],
    "dot": ["421", "450", "451", "452", "550", "552", "554"],
}
# Codes that cannot follow the command, or that no standard knows.
STRANGE = {"mail": ["354", "199", "600"], "rcpt": ["354", "199", "600", "999"], "data": ["250", "199"], "dot": ["354", "199", "600"]}

STAYS = expect(WAITS, deferred=1)
# Its receiver may have taken it before it fell silent or went on strangely; nobody may lose it.
ANY = expect(DELIVERED, WAITS)


def refused(stage, code):
    """At MAIL an address that is not wanted is the sender's."""
    classes = {"sender.rejected"} if stage == "mail" and code in ("550", "553") else CLASS[code]
    if code[0] == "4":
        return expect(WAITS, classes=classes, deferred=1)
    return expect(BOUNCED, classes=classes)


def table():
    """All behaviours."""
    for stage, codes in CODES.items():
        only_data = stage == "data"
        for code in codes:
            yield Behaviour(f"{stage}{code}", refused(stage, code), only_data)
        for code in ("421", "451"):
            # Once an hour would be enough for it: taken at the third try.
            yield Behaviour(f"{stage}{code}n2", expect(DELIVERED, deferred=1 if code == "421" else 2), only_data)
        for code in STRANGE[stage]:
            yield Behaviour(f"{stage}{code}", expect(WAITS, deferred=1), only_data)
        yield Behaviour(f"drop{stage}", STAYS, only_data)
        yield Behaviour(f"rst{stage}", STAYS, only_data)
        yield Behaviour(f"stopread{stage}", STAYS, only_data)
    yield from replies()
    yield from bodies()


def replies():
    """Replies that are malformed, endless, or come in their own time."""
    once = expect(DELIVERED)
    yield Behaviour("lfonly", once)
    yield Behaviour("nul", once)
    yield Behaviour("utf8", once)
    yield Behaviour("split", once)
    yield Behaviour("many50", once)
    yield Behaviour("slow5", once)
    yield Behaviour("slow100", once)
    yield Behaviour("tarpit1", once)
    # 250 before the text was sent is no acceptance: it may wait for ever, and must not be lost. With BDAT the receiver says nothing at all.
    yield Behaviour("ahead", ANY, not_bdat=True)
    # With BDAT the whole message is out by then, and nobody knows.
    broken = expect(WAITS, classes={"protocol", "network.unknown"}, deferred=1)
    yield Behaviour("badcode", broken)
    # Two codes in one reply: neither is to be believed, least of all the one that would bounce.
    yield Behaviour("badmulti", broken)
    yield Behaviour("many9000", broken)
    yield Behaviour("giant2000000", broken)
    yield Behaviour("endless", broken)
    yield Behaviour("nocrlf", ANY)


def bodies():
    """What happens to the body, and whether anybody can know."""
    yield Behaviour("midclose100", STAYS, only_data=True)
    yield Behaviour("closedot", expect(WAITS, deferred=1, unknown=1))
    yield Behaviour("lostack", expect(DELIVERED, kept=1, deferred=1, unknown=1))
    # A server that lies cannot be found out: it says 250 and keeps nothing.
    yield Behaviour("dot250", expect(DELIVERED, kept=0))


def offers():
    """What the receiver offers in EHLO: the eight ways to speak with it, as profile and name."""
    for tls in (False, True):
        for pipelining in (True, False):
            for chunking in (True, False):
                profile = [] if pipelining else ["nopipe"]
                profile += ["chunking"] if chunking else []
                profile += ["tls=good"] if tls else []
                name = "-".join(["tls" if tls else "clear", "pipe" if pipelining else "step", "bdat" if chunking else "data"])
                yield name, ",".join(profile) or "accept"
