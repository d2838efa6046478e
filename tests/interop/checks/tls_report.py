"""MTA-STS is kept to over restarts, and TLS reports arrive, even where TLS is what is broken; Python's ssl, json and gzip judge."""

import collections
import email
import gzip
import http.server
import json
import socket
import ssl
import threading
import time

from harness.dns import A, MX, TXT, Dns
from harness.engine import Engine
from harness.stage import Skipped, free_port, need

POLICY_HOST = "127.0.0.31"
# Domain: its MX, where that is, and its policy.
DOMAINS = {"good.test": ("mx1.good.test", "enforce", "*.good.test"), "bad.test": ("mx1.bad.test", "enforce", "mx1.bad.test"),
           "stranger.test": ("mx1.good.test", "enforce", "mx.stranger.test"), "trial.test": ("mx1.trial.test", "testing", "mx1.trial.test")}
HOSTS = {"mx1.good.test": "127.0.0.21", "mx1.bad.test": "127.0.0.22", "mx1.trial.test": "127.0.0.23"}


def run(stage):
    port = free_port("127.0.0.21")
    good, bad = certificate(stage, "good", ["mx1.good.test", *(f"mta-sts.{domain}" for domain in DOMAINS)]), certificate(stage, "bad", ["mx1.bad.test", "mx1.trial.test"])
    arrived = collections.defaultdict(list)
    for host, address in HOSTS.items():
        stage.closers.append(receiver(address, port, good if host == "mx1.good.test" else bad, arrived).close)
    policies = policy_host(good)
    dns = Dns(zone())
    stage.closers += [policies.server_close, dns.close]
    engine = Engine(stage, f'\n[dns]\nservers = ["127.0.0.1:{dns.port}"]\n\n[deliver]\nport = {port}\nca_file = "{good[0]}"\n'
                           f'allow_private = ["127.0.0.0/8"]\nconnect_timeout = "5s"\n\n[tls_report]\nfrom = "tls@mx.staffetta.test"\n')
    seed_reports(engine.folder / "data", ["good.test", "bad.test"])
    engine.start()
    for domain in DOMAINS:
        submit(engine, f"you@{domain}")
    stage.wait("the mail that may go", lambda: arrived["you@good.test"] and arrived["you@trial.test"], 30)
    stage.wait("what is counted", lambda: len(counted(engine)) >= len(DOMAINS), 30)
    time.sleep(2)
    stage.fact("a host that keeps to the policy gets the mail, under TLS", [tls for tls, _ in arrived["you@good.test"]] == [True])
    stage.fact("in mode testing one that does not gets it too", len(arrived["you@trial.test"]) == 1)
    waiting = {domain: not arrived[f"you@{domain}"] for domain in ("bad.test", "stranger.test")}
    stage.fact("in mode enforce one that does not gets nothing; the mail waits", all(waiting.values()) and engine.ledger()["queued"] == 2, **waiting)
    told = counted(engine)
    results = {domain: (kind, ok > 0, sorted(failures)) for domain, (kind, ok, failures) in told.items()}
    expected = {"good.test": ("sts", True, []), "bad.test": ("sts", False, ["certificate-not-trusted"]),
                "stranger.test": ("sts", False, ["certificate-host-mismatch"]), "trial.test": ("sts", False, ["certificate-not-trusted"])}
    stage.fact("`tls-report` says what failed", results == expected, **{domain: told.get(domain) for domain in DOMAINS})
    reports(stage, engine, arrived)
    kept(stage, engine, dns, policies, arrived)


def reports(stage, engine, arrived):
    """Those of the day before yesterday, which the seeded file counts."""
    stage.wait("the reports", lambda: arrived["tls@good.test"] and arrived["tls@bad.test"], 90)
    for domain in ("good.test", "bad.test"):
        (tls, text), = arrived[f"tls@{domain}"]
        letter = email.message_from_bytes(text)
        part = next(part for part in letter.walk() if part.get_content_type() == "application/tlsrpt+gzip")
        report = json.loads(gzip.decompress(part.get_payload(decode=True)))
        summary = report["policies"][0]["summary"]
        right = (letter.get_content_type(), letter.get_param("report-type"), letter["TLS-Report-Domain"]) == ("multipart/report", "tlsrpt", domain)
        stage.fact(f"{domain} has its report" + (", in spite of its certificate" if domain == "bad.test" else ""),
                   right and summary == {"total-successful-session-count": 5, "total-failure-session-count": 0}
                   and report["policies"][0]["policy"]["policy-domain"] == domain, tls=tls, file=part.get_filename(), id=report["report-id"], range=report["date-range"])
    day_before = engine.cli_json("tls-report", "--day", date(2))
    stage.fact("what was told is no longer kept", not day_before["policies"], days=day_before["days"])


def kept(stage, engine, dns, policies, arrived):
    """Somebody hides record and policy, and the engine starts anew."""
    time.sleep(6)
    engine.stop()
    policies.shutdown()
    policies.server_close()
    for domain in DOMAINS:
        dns.zone.pop((f"_mta-sts.{domain}", TXT))
    engine.start()
    submit(engine, "again@bad.test")
    submit(engine, "again@good.test")
    stage.wait("mail that may go", lambda: arrived["again@good.test"], 30)
    stage.wait("the attempt that fails", lambda: (counted(engine).get("bad.test") or (0, 0, {}))[2].get("certificate-not-trusted", 0) >= 2, 30)
    stage.fact("a policy is kept over a restart, though record and host are gone", not arrived["again@bad.test"] and not arrived["you@bad.test"])
    engine.stop()
    engine.config.write_text(engine.config.read_text().replace("[deliver]", "[deliver]\nmta_sts = false"))
    engine.start()
    submit(engine, "control@bad.test")
    stage.wait("mail that nothing holds", lambda: arrived["control@bad.test"], 30)
    stage.fact("with mta_sts = false it is not: the check would see it", len(arrived["control@bad.test"]) == 1)
    status, _ = engine.stop()
    stage.fact("SIGTERM ends it with status 0", status == 0, status=status)


def zone():
    zone = {(host, A): [address] for host, address in HOSTS.items()}
    for domain, (mx, _, _) in DOMAINS.items():
        zone |= {(domain, MX): [(10, mx)], (f"mta-sts.{domain}", A): [POLICY_HOST], (f"_mta-sts.{domain}", TXT): ["v=STSv1; id=1;"],
                 (f"_smtp._tls.{domain}", TXT): [f"v=TLSRPTv1; rua=mailto:tls@{domain}"]}
    return zone


def date(days_ago):
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() - days_ago * 86_400))


def seed_reports(folder, domains):
    """The counts of a day that is over for long enough for its reports to be due, as the engine keeps them."""
    folder.mkdir()
    policies = [{"policy": {"policy-type": "no-policy-found", "policy-domain": domain},
                 "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0}} for domain in domains]
    (folder / "tls-reports.json").write_text(json.dumps({str(int(time.time()) // 86_400 - 2): {"untold": 0, "policies": policies}}))


def counted(engine):
    """By domain: kind of policy, sessions that were good, failures by type. The policy that was counted last is left."""
    found = {}
    for told in engine.cli_json("tls-report")["policies"]:
        failures = {detail["result-type"]: detail["failed-session-count"] for detail in told.get("failure-details", [])}
        found[told["policy"]["policy-domain"]] = (told["policy"]["policy-type"], told["summary"]["total-successful-session-count"], failures)
    return found


def submit(engine, to):
    status, answer = engine.http_ask("POST", "/v1/messages", {"from": "ann@sender.test", "to": [to], "subject": "hello", "text": "Hi."})
    if status != 202:
        raise AssertionError(f"{to}: {status} {answer}")


def certificate(stage, name, names):
    """A certificate that vouches for itself: paths of certificate and key."""
    pair = stage.path(f"{name}.crt"), stage.path(f"{name}.key")
    made = stage.run([need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={names[0]}",
                      "-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names), "-addext", "basicConstraints=critical,CA:FALSE",
                      "-keyout", pair[1], "-out", pair[0]])
    if made.returncode:
        raise Skipped(f"openssl made no certificate: {made.stderr.strip()[-200:]}")
    return pair


def context(pair):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    return made


def policy_host(pair):
    """Serves the policy of the domain that the Host field names, on the port of HTTPS."""
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            _, mode, mx = DOMAINS[self.headers["Host"].removeprefix("mta-sts.")]
            body = f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n".encode()
            self.send_response(200 if self.path == "/.well-known/mta-sts.txt" else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    try:
        server = http.server.ThreadingHTTPServer((POLICY_HOST, 443), Answers)
    except OSError as error:
        raise Skipped(f"the port of HTTPS cannot be had on {POLICY_HOST}: {error}") from None
    server.socket = context(pair).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def receiver(address, port, pair, arrived):
    """Takes mail, with STARTTLS; remembers for each recipient whether it came under TLS, and the message."""
    listener = socket.create_server((address, port))

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(peer,), daemon=True).start()

    def converse(peer):
        try:
            speak(peer)
        except (OSError, ssl.SSLError):
            pass
        finally:
            peer.close()

    def speak(peer):
        peer.sendall(b"220 receiver.test\r\n")
        lines, recipients, tls = peer.makefile("rb"), [], False
        while line := lines.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                peer.sendall(b"250 receiver.test\r\n" if tls else b"250-receiver.test\r\n250 STARTTLS\r\n")
                continue
            if verb == b"STAR":
                peer.sendall(b"220 go on\r\n")
                peer = context(pair).wrap_socket(peer, server_side=True)
                lines, tls = peer.makefile("rb"), True
                continue
            if verb == b"RCPT":
                recipients.append(line.split(b"<")[1].split(b">")[0].decode())
            if verb == b"DATA":
                peer.sendall(b"354 go on\r\n")
                text = b"".join(iter(lines.readline, b".\r\n"))
                for recipient in recipients:
                    arrived[recipient].append((tls, text))
                recipients = []
            peer.sendall(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")

    threading.Thread(target=accept, daemon=True).start()
    return listener
