"""smtplib, swaks and aiosmtplib can submit; a message to 100 recipients in 3 domains has 100 stories."""

import asyncio
import email.message
import email.policy
import re
import smtplib

from harness.engine import SOURCES, Engine, balances, route
from harness.receivers import Sink
from harness.stage import Skipped, need


def run(stage):
    sink = Sink(stage)
    engine = Engine(stage, SOURCES + route(sink.port))
    engine.start()
    for client in (by_smtplib, by_swaks, by_aiosmtplib, by_http, by_send_raw):
        name = client.__name__.removeprefix("by_")
        try:
            said = client(stage, engine, f"{name}@one.test")
            came = arrives(stage, sink, f"{name}@one.test")
            stage.fact(f"{name} submits, and it arrives", came, said=said)
        except Skipped as error:
            stage.say(f"{name} left out: {error}")
    stories(stage, engine, sink)
    ledger = engine.wait_empty(30)
    stage.fact("the ledger balances", balances(ledger) and ledger["delivered"] == ledger["accepted"], **ledger)
    engine.stop()


def arrives(stage, sink, address):
    return stage.wait(address, lambda: sink.read().arrivals[address] == 1, 15)


def letter(to, subject="hello"):
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = "Ann <ann@sender.test>", to, subject
    message.set_content("Good morning, Zoë.\n")
    return message


def by_smtplib(_stage, engine, to):
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=20) as client:
        client.send_message(letter(to))
        return f"EHLO offers {' '.join(sorted(client.esmtp_features))}"


def by_swaks(stage, engine, to):
    program = need("swaks")
    done = stage.run([program, "--server", f"127.0.0.1:{engine.smtp}", "--from", "ann@sender.test", "--to", to,
                      "--header", "Subject: hello", "--body", "Good morning.\n"])
    reply = [line for line in done.stdout.splitlines() if line.startswith("<-  250 ")]
    return reply[-1] if done.returncode == 0 and reply else f"status {done.returncode}: {done.stdout[-300:]}"


def by_aiosmtplib(_stage, engine, to):
    try:
        import aiosmtplib
    except ImportError:
        raise Skipped("the Python package aiosmtplib is not installed") from None
    _, said = asyncio.run(aiosmtplib.send(letter(to), hostname="127.0.0.1", port=engine.smtp, start_tls=False))
    return said


def by_http(_stage, engine, to):
    status, answer = engine.http_ask("POST", "/v1/messages", {"from": "ann@sender.test", "to": [to], "subject": "hello", "text": "Hi."})
    return f"{status} {answer}"


def by_send_raw(stage, engine, to):
    done = engine.cli("send", "--raw", stage.write("raw.eml", letter(to).as_bytes()))
    return f"status {done.returncode}: {done.stdout.strip()}{done.stderr.strip()}"


def stories(stage, engine, sink):
    """100 recipients in 3 domains: all come, and each has a story of its own."""
    to = [f"reader{n}@{('one', 'two', 'three')[n % 3]}.test" for n in range(100)]
    with smtplib.SMTP("127.0.0.1", engine.smtp, timeout=20) as client:
        client.ehlo()
        client.mail("ann@sender.test")
        for address in to:
            client.rcpt(address)
        code, said = client.data(letter("readers:;", "to all").as_bytes())
    found = re.search(r"queued as (\w+)", said.decode())
    stage.fact("the reply names the message", code == 250 and found, said=said.decode())
    identity = found[1] if found else ""
    stage.wait("100 arrivals", lambda: all(sink.read().arrivals[address] == 1 for address in to), 30)
    recipients = []

    def told():
        status, answer = engine.http_ask("GET", f"/v1/messages/{identity}")
        recipients[:] = answer.get("recipients", []) if status == 200 else []
        return recipients and all(one["state"] == "delivered" for one in recipients)
    stage.wait("the stories", told, 15)
    addresses = sorted(one["address"] for one in recipients)
    stage.fact("GET /v1/messages/ID has 100 stories", addresses == sorted(to) and
               all(len(one["attempts"]) == 1 for one in recipients), stories=len(recipients),
               first=recipients[0]["attempts"][0])
    answers = [engine.cli_json("why", one["id"]) for one in recipients]
    matching = sum(answer["state"] == "delivered" and answer["address"] == one["address"] for one, answer in zip(recipients, answers))
    stage.fact("`staffetta why` tells each of them", matching == 100, told=matching, first=answers[0].get("waits_for"))
