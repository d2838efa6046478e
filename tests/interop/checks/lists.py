"""Wrong lines of a CSV or NDJSON list are rejected one by one with their numbers; the other lines go on."""

import json

from harness import campaign
from harness.engine import Engine, balances, route
from harness.receivers import Sink

CSV = (b"email,name,city,points,code,since\r\n"       # 1
       b"good1@list.test,Ann,Rome,1,c1,2020\r\n"      # 2
       b"not an address,Bob,Rome,1,c2,2020\r\n"       # 3 wrong
       b"good2@list.test,Zo,\"Two\r\nlines\",1,c3,2020\r\n"  # 4, 5
       b"few@list.test,Carl\r\n"                      # 6 wrong: fields are missing
       b"many@list.test,a,b,c,d,e,f,g\r\n"            # 7 wrong: too many
       b"latin@list.test,\xe8,Rome,1,c4,2020\r\n"     # 8 wrong: not UTF-8
       b"good3@list.test,\"say \"\"hi\"\"\",Rome,1,c5,2020\r\n"  # 9
       b"@list.test,Dan,Rome,1,c6,2020\r\n"           # 10 wrong
       b"head@list.test,\"A\r\nBcc: x@y.test\",Rome,1,c6,2020\r\n"  # 11, 12 wrong: `name` is in the subject
       b"good4@list.test,Eve,Rome,1,c7,2020")         # 13, without a line end
WRONG_CSV = [3, 6, 7, 8, 10, 11]
MERGE = {"name": "A", "city": "R", "points": 1, "code": "c", "since": "2020"}
NDJSON = [
    json.dumps({"address": "good1@json.test", "merge": MERGE}),
    "{not json",
    json.dumps({"address": "missing@json.test", "merge": {"name": "A"}}),
    json.dumps({"merge": MERGE}),
    json.dumps({"address": "good2@json.test", "merge": MERGE | {"points": 2.5}}),
    json.dumps({"address": "two words@json.test", "merge": MERGE}),
    json.dumps(["a list"]),
    json.dumps({"address": "good3@json.test", "merge": MERGE}),
]
WRONG_NDJSON = [2, 3, 4, 6, 7]


def run(stage):
    sink = Sink(stage)
    engine = Engine(stage, route(sink.port))
    engine.start()
    template, _ = campaign.write(stage, 1)
    for name, body, wrong, good in (("bad.csv", CSV, WRONG_CSV, 4), ("bad.ndjson", ("\n".join(NDJSON) + "\n").encode(), WRONG_NDJSON, 3)):
        kind = "text/csv" if name.endswith("csv") else "application/x-ndjson"
        by_api(stage, engine, kind, body, wrong, good)
        sending = campaign.send(stage, engine, template, stage.write(name, body), name=name, machine=False)
        status = sending.wait(60)
        said = stage.path(f"{name}.err").read_text()
        told = [line for line in wrong if f"line {line} rejected" in said]
        stage.fact(f"`send` of {name} names the wrong lines and sends the others", told == wrong and said.count(" rejected: ") == len(wrong)
                   and status == 0, status=status, wrong=told, said=said.strip().splitlines()[:2])
    sending = campaign.send(stage, engine, template, stage.path("bad.csv"), name="json")
    sending.wait(60)
    report = campaign.report(stage, "json")
    stage.fact("with --json the report names the wrong lines", report.get("rejected_lines") == len(WRONG_CSV) and
               [one["line"] for one in report.get("rejected", [])] == WRONG_CSV, rejected=report.get("rejected"))
    book = sink.settled()
    stage.fact("good lines arrived, wrong ones did not", sorted(book.arrivals) == sorted(
        [f"good{n}@list.test" for n in range(1, 5)] + [f"good{n}@json.test" for n in range(1, 4)]), arrived=sorted(book.arrivals))
    missing = campaign.send(stage, engine, template, stage.write("columns.csv", "email,name\na@x.test,A\n"), name="columns")
    status, said = missing.wait(30), stage.path("columns.err").read_text().strip()
    stage.fact("a column that the template needs is missed before anything is sent", status == 1 and "city" in said, status=status, said=said)
    broken = stage.write("broken.html", "<title>x</title>\n<p>{{ name }\n</p>\n")
    spoilt = campaign.send(stage, engine, broken, stage.write("one.csv", "email,name\na@x.test,A\n"), name="broken")
    status, said = spoilt.wait(30), stage.path("broken.err").read_text().strip()
    stage.fact("an error in the template is told with its place", status == 1 and "2" in said, status=status, said=said)
    ledger = engine.wait_empty(20)
    stage.fact("the ledger balances", balances(ledger) and ledger["delivered"] == 11 and ledger["cancelled"] == 7, **ledger)
    engine.stop()


def by_api(stage, engine, kind, body, wrong, good):
    """The same list by HTTP, to a campaign that is never started and cancelled at the end."""
    status, made = engine.http_ask("POST", "/v1/campaigns", {"name": "x", "from": "news@letters.test", "subject": "{{ name }}",
                                                            "text": "{{ name }} {{ city }} {{ points }} {{ code }} {{ since }}"})
    status, answer = engine.http_ask("POST", f"/v1/campaigns/{made['id']}/recipients", body, kind)
    lines = [one["line"] for one in answer.get("rejected", [])]
    stage.fact(f"the API rejects lines of {kind} one by one", status == 200 and lines == wrong and answer["accepted"] == good
               and all(one["message"] for one in answer["rejected"]), accepted=answer.get("accepted"), rejected=answer.get("rejected"))
    engine.http_ask("POST", f"/v1/campaigns/{made['id']}/cancel")
