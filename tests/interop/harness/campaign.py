"""A newsletter: a template with five merge fields, a CSV list, and `staffetta send` as a process."""

import json
import subprocess

TEMPLATE = """<!doctype html>
<html><head><title>News for {{ name }}</title></head><body>
<h1>Good morning, {{ name }}!</h1>
<p>The weather in {{ city }} is fine. You have {{ points }} points, and your code is <b>{{ code }}</b>.</p>
<p><a href="https://news.example/read?c={{ code }}">Read more</a>. You are a reader since {{ since }}.</p>
""" + "<p>Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt.</p>\n" * 30 + """
</body></html>
"""


def address(n):
    return f"r{n}@reader{n % 97}.test"


def write(stage, recipients, name="list.csv"):
    """Template and list."""
    rows = ["email,name,city,points,code,since\n"]
    rows += [f"{address(n)},Reader {n},City {n % 50},{n * 7 % 1000},C{n:07},20{n % 26:02}\n" for n in range(recipients)]
    return stage.write("news.html", TEMPLATE), stage.write(name, "".join(rows))


def send(stage, engine, template, recipients, *more, name="send", machine=True):
    """Starts `staffetta send`; its output goes to files of the stage."""
    out, err = open(stage.path(f"{name}.out"), "wb"), open(stage.path(f"{name}.err"), "wb")
    command = engine.command("send", "--from", "News <news@letters.test>", "--template", template, "--recipients", recipients,
                             "--list-unsubscribe", "https://news.example/leave?c={{ code }}", *(["--json"] if machine else []), *more)
    process = stage.spawn(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    out.close()
    err.close()
    return process


def report(stage, name="send"):
    """What `send` printed: its JSON report, or nothing."""
    try:
        return json.loads(stage.path(f"{name}.out").read_text())
    except ValueError:
        return {}
