"""The second table: what a receiver does to whole sessions, at their beginning, in what it offers, in its limits and its TLS."""

import dataclasses

from .letters import BOUNCED, DELIVERED, WAITS, Letter, expect

ONCE = expect(DELIVERED)
STAYS = expect(WAITS)
EITHER = expect(DELIVERED, WAITS)
EIGHT_BIT = "Grüße aus Köln.\r\n".encode()
DOTS = b".\r\n..\r\n.leading\r\nmiddle . dot\r\n\r\n.\r\n..\r\n"
LONG = b"A line of a long letter that nobody reads to its end, and more of it.\r\n" * 60


@dataclasses.dataclass(frozen=True)
class Session:
    """`profile`: of the receiver. `letters`: how many plain ones, or a function that makes them for a domain. `own`: it counts by
    client address, so it needs a process of its own, as one does whose letters are read. `tls`: of the route. `encrypted`: whether what arrives must (True) or must
    not (False) have come by TLS."""
    name: str
    profile: str
    wanted: object = ONCE
    letters: object = 3
    tls: str = "opportunistic"
    encrypted: object = None
    own: bool = False
    connections: int = 1
    excused: tuple = ()


def table():
    yield from openings()
    yield from endings()
    yield from offers()
    yield from limits()
    yield from encryption()


def openings():
    yield Session("conn421", "conn=421", STAYS)
    yield Session("conn450", "conn=450", STAYS)
    # "554 5.7.1 rejected as spam" before any message judges none: only a site that takes no mail at all bounces it.
    yield Session("conn554", "conn=554", STAYS)
    yield Session("conn421n2", "conn=421:n2", own=True)
    yield Session("ehlo421", "ehlo=421", STAYS)
    yield Session("ehlo451", "ehlo=451", STAYS)
    yield Session("ehlo421n2", "ehlo=421:n2", own=True)
    for code in ("500", "501", "502", "504", "550", "554"):
        # RFC 5321 section 4.1.1.1: HELO is tried.
        yield Session(f"ehlo{code}", f"ehlo={code}")
    yield Session("noehlo", "noehlo")
    for how in ("drop", "rst"):
        yield Session(f"{how}conn", f"{how}=conn", STAYS)
        # HELO may help: it need not.
        yield Session(f"{how}ehlo", f"{how}=ehlo", EITHER)
    yield Session("stopreadconn", "stopread=conn", STAYS)
    yield Session("stopreadehlo", "stopread=ehlo", STAYS)
    yield Session("banner3", "banner=3")
    yield Session("banner400", "banner=400", STAYS)


def endings():
    for how in ("quit=421", "quit=554", "drop=quit", "rst=quit", "stopread=quit"):
        yield Session(how.replace("=", ""), how)
    for how in ("rset=421", "rset=502", "drop=rset", "rst=rset"):
        # It keeps the transaction that it will not give up, and then finds the next MAIL, which is on its way, nested in that.
        yield Session(how.replace("=", ""), how, letters=after_a_refusal, excused=("nested-mail",) if how == "rset=502" else ())
    yield Session("idle421", "idle421=1", letters=with_a_pause)


def after_a_refusal(domain):
    """The refused ones leave a transaction behind that the next one meets."""
    bounced = expect(BOUNCED, classes={"recipient.unknown"})
    for number in range(6):
        word = "rcpt550" if number % 2 else ""
        address = f"v{number}+{word}@{domain}" if word else f"v{number}@{domain}"
        yield Letter(f"w{number}.{domain}@back.test", {address: bounced if word else ONCE})


def with_a_pause(domain):
    for number in range(3):
        yield Letter(f"w{number}.{domain}@back.test", {f"v{number}@{domain}": ONCE}, delay=3.0 * number)


def offers():
    yield Session("ehlolie with chunking", "ehlolie,chunking", letters=4)
    # It offers CHUNKING and does not know BDAT.
    yield Session("ehlolie", "ehlolie", letters=4, excused=("bdat-not-offered", "unknown-command"))
    # It offers PIPELINING and throws away what comes before its reply.
    yield Session("liepipe", "liepipe", ONCE, excused=("unknown-command", "rcpt-without-mail", "mail-before-helo"))
    yield Session("noenh", "noenh")
    yield Session("size over", "size=1000", expect(BOUNCED, classes={"content.size"}), letters=long)
    yield Session("size under", "size=1000")
    yield Session("size unsaid", "size=1000,nosize", expect(BOUNCED, classes={"content.size"}), letters=long)
    yield Session("8bit", "accept", letters=eight_bit)
    yield Session("8bit with chunking", "chunking", letters=eight_bit)
    # RFC 6152 section 3: such a letter is converted, never sent as it is.
    yield Session("no8bit", "no8bit", letters=converted, own=True)
    yield Session("no8bit with chunking", "no8bit,chunking", letters=converted, own=True)
    yield Session("utf8 address", "accept", letters=utf8_address)
    yield Session("noutf8", "noutf8", expect(BOUNCED), letters=utf8_address)
    yield Session("dsn", "accept", letters=with_dsn)
    yield Session("nodsn", "nodsn", letters=with_dsn)
    for profile in ("accept", "chunking", "nopipe", "eod=lenient"):
        yield Session(f"dots, {profile}", profile, letters=dots)
    yield Session("noehlo 8bit", "noehlo", letters=converted, own=True)


def one_each(domain, body, to="v{}@{}", **more):
    for number in range(2):
        yield Letter(f"w{number}.{domain}@back.test", {to.format(number, domain): None}, body=body, **more)


def long(domain):
    return one_each(domain, LONG)


def eight_bit(domain):
    return one_each(domain, EIGHT_BIT, extra="MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")


def converted(domain):
    for letter in eight_bit(domain):
        letter.converted = True
        yield letter


def dots(domain):
    return one_each(domain, DOTS)


def utf8_address(domain):
    return one_each(domain, b"hi\r\n", to="grüße{}@{}")


def with_dsn(domain):
    return one_each(domain, b"hi\r\n", by_smtp={"mail": ["RET=HDRS", "ENVID=abc"], "rcpt": ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;other@example.test"]})


def limits():
    yield Session("maxmsgs2", "maxmsgs=2", letters=7)
    yield Session("maxmsgs1 chunking", "maxmsgs=1,chunking", letters=5)
    yield Session("maxconn1", "maxconn=1", letters=8, connections=4)
    yield Session("ratemin3", "ratemin=3", letters=6)
    yield Session("msgmin2", "msgmin=2", EITHER, letters=4)
    yield Session("maxrcpt2", "maxrcpt=2", letters=many_recipients)
    yield Session("mixed recipients", "accept", letters=mixed_recipients)
    yield Session("mixed recipients, chunking", "chunking", letters=mixed_recipients)
    yield Session("mixed recipients, step", "nopipe", letters=mixed_recipients)
    yield Session("greylist4", "greylist=4", expect(DELIVERED, deferred=1), own=True)
    yield Session("greyn2", "greyn=2", expect(DELIVERED, deferred=2))
    yield Session("lat50", "lat=50", letters=6)
    yield Session("split", "split,chunking")


def many_recipients(domain):
    yield Letter(f"w.{domain}@back.test", {f"v{number}@{domain}": ONCE for number in range(7)})


def mixed_recipients(domain):
    """One message; each recipient has its own end."""
    ends = {"": ONCE, "rcpt550": expect(BOUNCED, classes={"recipient.unknown"}), "rcpt450n2": expect(DELIVERED, deferred=2),
            "rcpt451": expect(WAITS, classes={"system"}, deferred=1), "rcpt552": expect(BOUNCED)}
    to = {}
    for number in range(10):
        token = list(ends)[number % len(ends)]
        to[f"v{number}+{token}@{domain}" if token else f"v{number}@{domain}"] = ends[token]
    yield Letter(f"w.{domain}@back.test", to, hurry="personal")


def encryption():
    """RFC 3207 and 7435: opportunistic mail arrives whatever is wrong with TLS there; `required` mail never in clear, `verified` mail
    never to a server that cannot show who it is. The authority of the good certificate is in `ca_file`."""
    for kind in ("good", "selfsigned", "expired", "wronghost", "inject"):
        # `inject`: what stands behind the 220 in clear was put there by somebody on the way; believed, its SIZE 1 would refuse all.
        yield Session(f"tls {kind}", f"tls={kind}", encrypted=True)
        yield Session(f"tls {kind}, chunking", f"tls={kind},chunking", encrypted=True)
        yield Session(f"tls {kind}, required", f"tls={kind}", tls="required", encrypted=True)
        yield Session(f"tls {kind}, verified", f"tls={kind}", ONCE if kind in ("good", "inject") else STAYS, tls="verified", encrypted=True)
    for kind in ("tls10", "garbage", "close", "454", "hang"):
        yield Session(f"tls {kind}", f"tls={kind}", encrypted=False)
        yield Session(f"tls {kind}, required", f"tls={kind}", STAYS, tls="required")
        yield Session(f"tls {kind}, verified", f"tls={kind}", STAYS, tls="verified")
    yield Session("tls none, required", "accept", STAYS, tls="required")
    yield Session("tls none, verified", "accept", STAYS, tls="verified")
    for code in ("421", "454", "501", "502", "554"):
        yield Session(f"starttls{code}", f"tls=good,starttls={code}", encrypted=False)
    for how in ("drop", "rst"):
        yield Session(f"{how}starttls", f"tls=good,{how}=starttls", encrypted=False)
    yield Session("stopreadstarttls", "tls=good,stopread=starttls", EITHER)
    for code in ("421", "454"):
        yield Session(f"starttls{code}, required", f"tls=good,starttls={code}", STAYS, tls="required")
    yield Session("reqtls", "tls=good,reqtls", encrypted=True)
    yield Session("reqtls, none offered", "reqtls", expect(WAITS, BOUNCED))
    yield Session("implicit", "tls=good,implicit", STAYS)
