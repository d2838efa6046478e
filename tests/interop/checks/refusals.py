"""What makes a start impossible is refused with one clear sentence and status 1."""

import re
import socket

from harness.engine import Engine, route
from harness.stage import Skipped, need


def run(stage):
    anywhere = route(9)
    absent_source(stage, anywhere)
    busy_ports(stage, anywhere)
    second_engine(stage, anywhere)
    keys(stage, anywhere)
    data_dir(stage, anywhere)
    no_ring(stage, anywhere)


def refused(stage, name, engine, *words, wrapper=()):
    """Starts it, which must fail, and looks at what it says."""
    done = stage.run([*wrapper, stage.options.binary, "serve", "--config", engine.config], 30)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    last = errors[-1] if errors else said[-300:]
    told = [word for word in words if not re.search(word, said)]
    twice = re.findall(r"(\(os error \d+\)).*\1", last)
    stage.fact(f"refused: {name}", done.returncode == 1 and not told and len(errors) == 1 and "ready" not in done.stdout
               and "panicked" not in said and not twice, status=done.returncode, said=last, not_told=told)


def absent_source(stage, anywhere):
    engine = Engine(stage, anywhere + '\n[[source]]\nname = "far"\nip = "192.0.2.77"\n', name="absent")
    refused(stage, "a source address that is not on the host", engine, r"192\.0\.2\.77", "far")
    engine = Engine(stage, anywhere + '\n[[source]]\nname = "dev"\ndevice = "nope0"\n', name="device")
    refused(stage, "a source device that is not on the host", engine, "nope0")


def busy_ports(stage, anywhere):
    for which in ("smtp", "http"):
        engine = Engine(stage, anywhere, name=f"busy-{which}")
        port = getattr(engine, which)
        with socket.create_server(("127.0.0.1", port)):
            refused(stage, f"a busy {which} port", engine, f"127.0.0.1:{port}")


def second_engine(stage, anywhere):
    engine = Engine(stage, anywhere, name="first")
    engine.start()
    # The same data_dir by another file with other ports.
    second = Engine(stage, anywhere, name="second")
    second.config.write_text(second.config.read_text().replace('"data"', f'"{engine.folder}/data"'))
    refused(stage, "a second engine on the same data_dir", second, re.escape(f"{engine.folder}/data"))
    stage.fact("the first engine goes on", engine.http_ask("GET", "/healthz")[0] == 200)
    engine.stop()


def keys(stage, anywhere):
    domain = '\n[[domain]]\nname = "sender.test"\n[[domain.dkim]]\nselector = "s1"\nkey_file = "{}"\n'
    stage.write("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for name, file in (("is not there", "none.pem"), ("is a directory", "."), ("holds no key", "garbage.pem")):
        engine = Engine(stage, anywhere + domain.format(stage.path(file)), name=f"key-{name.replace(' ', '-')}")
        refused(stage, f"a DKIM key that {name}", engine, re.escape(str(stage.path(file))))
    done = stage.run([need("openssl"), "genpkey", "-algorithm", "ed25519", "-out", stage.path("ed.pem")])
    if done.returncode == 0:
        engine = Engine(stage, anywhere + domain.format(stage.path("ed.pem")), name="key-kind")
        refused(stage, "an Ed25519 key configured as RSA", engine, "ed.pem")


def data_dir(stage, anywhere):
    engine = Engine(stage, anywhere, name="data-file")
    (engine.folder / "data").write_text("a file")
    refused(stage, "a data_dir that is a file", engine, "data")


def no_ring(stage, anywhere):
    try:
        strace = need("strace")
    except Skipped as error:
        return stage.say(f"a forbidden io_uring left out: {error}")
    probe = stage.run([strace, "-f", "-o", "/dev/null", "-e", "inject=io_uring_setup:error=EPERM", "true"])
    if probe.returncode:
        return stage.say("a forbidden io_uring left out: strace may not trace here")
    for error in ("EPERM", "ENOSYS"):
        engine = Engine(stage, anywhere, name=f"ring-{error}")
        wrapper = [strace, "-f", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e", f"inject=io_uring_setup:error={error}"]
        words = ("io_uring", "io_uring_disabled") if error == "EPERM" else ("io_uring",)
        refused(stage, f"io_uring answers {error}", engine, *words, wrapper=wrapper)
