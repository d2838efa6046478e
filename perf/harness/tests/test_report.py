"""What is reported: medians of what is not void, ratios, and reasons where there is nothing to report."""

import json
import pathlib
import tempfile
import types
import unittest
import xml.etree.ElementTree as xml

from harness import calls, chart, record, report, scenario, session, stacks, stage
from harness.run import Run

FACTS = {
    "cpu": "c", "cores": 2, "cpus_used": "all", "memory_gb": 1.0, "kernel": "k", "commit": "abc", "profile": "release", "load_before": 0.1,
    "at": "now", "note": "", "versions": {"staffetta": "1"},
    "disk": {"filesystem": "ext4", "device": "d", "is_memory": False, "fdatasync_p50_us": 1, "fdatasync_p99_us": 2},
}
TOOLS = [{"message_bytes": 1024, "mode": "pipelined", "connections": 20, "msgs_per_s": 1e4, "inject_cpu_us_per_msg": 1.0, "sink_cpu_us_per_msg": 2.0}]
OPTIONS = types.SimpleNamespace(quick=True, runs=3, senders=["staffetta", "postfix", "kumomta"])


def figures(rate, **more):
    return {"msgs_per_s": rate, "cpu_us_per_msg": 1e6 / rate, "rss_mb": 10.0, "anon_mb": 5.0, "other_cpu_share": 0.0, "messages": 9, **more}


def result(facts=FACTS):
    """A session with three runs of ours, one of Postfix beside a void one, and no KumoMTA."""
    table = {"title": "t", "kind": "relay", "messages": {"other": 9}, "quick_messages": {"other": 3}, "aim": {
        "at_least": {"msgs_per_s": 1500, "postfix_ratio": 25}, "at_most": {"spool_bytes_per_recipient": 300}}}
    (wanted,) = scenario.read("relay-1k", table)
    ours, theirs, none = (session.Outcome(wanted, name) for name in OPTIONS.senders)
    ours.runs = [figures(1000.0, accept_p50_ms=1.0, accept_p99_ms=2.0), figures(3000.0), figures(2000.0)]
    theirs.runs, theirs.void, none.missing = [figures(100.0)], ["lost one"], "not installed"
    outcomes = {("relay-1k", "", one.sender): one for one in (ours, theirs, none)}
    return report.build(OPTIONS, {"relay-1k": [wanted]}, facts, TOOLS, outcomes)


class Report(unittest.TestCase):
    def test_medians_ratios_and_reasons(self):
        (entry,) = result()["scenarios"]
        self.assertEqual((entry["scenario"], entry["staffetta"]["msgs_per_s"], entry["staffetta"]["spread"]["msgs_per_s"]), ("relay-1k", 2000.0, [1000.0, 3000.0]))
        self.assertNotIn("accept_p50_ms", entry["staffetta"], "a figure that only one run has is no median")
        self.assertEqual((entry["postfix"]["staffetta_ratio"], entry["postfix"]["void"]), (20.0, ["lost one"]))
        self.assertEqual(entry["kumomta"], {"missing": "not installed"})
        for name in ("msgs_per_s", "cpu_us_per_msg", "rss_mb", "durable"):
            self.assertIn(name, entry["staffetta"])

    def test_aims_are_judged_where_something_was_measured(self):
        (entry,) = result()["scenarios"]
        self.assertEqual([(aim["figure"], aim["met"]) for aim in entry["aims"]], [("msgs_per_s", True), ("postfix_ratio", False)])
        self.assertIn("postfix_ratio at least 25: 20.0 (missed)", report.text(result()))

    def test_nothing_in_memory_is_called_durable(self):
        facts = {**FACTS, "disk": {**FACTS["disk"], "is_memory": True, "filesystem": "tmpfs"}}
        (entry,) = result(facts)["scenarios"]
        self.assertIs(entry["staffetta"]["durable"], False)
        self.assertIn("NOTHING IS DURABLE", report.text(result(facts)))

    def test_text_names_all_senders_and_says_that_it_was_quick(self):
        text = report.text(result())
        for words in ("QUICK", "2,000", "1,000 - 3,000", "20.0", "not installed", "1 (1 void)", "injector to sink"):
            self.assertIn(words, text)

    def test_what_is_scaled_is_compared_with_the_smallest(self):
        table = {"title": "t", "kind": "relay", "scale": "shards", "shards": 2, "messages": {"other": 9}, "quick_messages": {"other": 3}}
        variants = scenario.read("scaling", {**table, "aim": {"at_least": {"shards_gain": 1.8}}, "variant": {"one": {"shards": 1}, "none": {"shards": 4}}})
        outcomes = {("scaling", one.variant, "staffetta"): session.Outcome(one, "staffetta") for one in variants}
        for variant, rate in (("", 1000.0), ("one", 1100.0)):
            outcomes["scaling", variant, "staffetta"].runs = [figures(rate)]
        outcomes["scaling", "none", "staffetta"].void = ["lost one"]
        made = report.build(OPTIONS, {"scaling": variants}, FACTS, TOOLS, outcomes)
        (entry,) = made["scenarios"]
        self.assertEqual((entry["staffetta"]["cpu_ratio"], entry["staffetta"]["shards_gain"]), (1.1, 1.82))
        self.assertEqual((entry["variants"]["one"]["staffetta"]["cpu_ratio"], [aim["met"] for aim in entry["aims"]]), (1.0, [True]))
        self.assertNotIn("cpu_ratio", entry["variants"]["none"]["staffetta"])
        for words in ("1,000.0 (x1.10)", "by shards: 1: x1.00, 2: x1.10 (rate x1.82"):
            self.assertIn(words, report.text(made))

    def test_calls_are_told_by_their_number(self):
        found = calls.parse("# started\n\n900;;raw_syscalls:sys_enter;1;100.00;;\n600;;syscalls:sys_enter_read;1;100.00;;\n<not counted>;;x;0;0;;\n")
        self.assertEqual(found, {"all": 900, "read": 600})
        self.assertEqual(calls.lines({"calls_all": 9.0, "calls_read": 6.0, "calls_mmap": 0.001}), "system calls a message: 9.00: read 6.00")
        self.assertEqual(calls.lines(figures(1.0)), "")

    def test_stacks_are_folded_from_the_thread_inwards(self):
        told = "shard-0 \n\t ffffffff8123 tcp_sendmsg\n\t    55ab run::{{closure}} (inlined)\n\niou-wrk-17 \n\tffffffff81234567 io_fsync\n\n"
        found = stacks.fold((told + "shard-0 \n\tffffffff81234567 io_fsync\n\t55ab a;b\n").splitlines())
        self.assertEqual(found, {"shard-0;run::{{closure}} (inlined);tcp_sendmsg": 1, "iou-wrk;io_fsync_[k]": 1, "shard-0;a:b;io_fsync_[k]": 1})

    def test_an_idle_engine_has_no_rate(self):
        table = {"title": "t", "kind": "idle", "senders": ["staffetta"], "messages": {"other": 9}, "quick_messages": {"other": 3}}
        (wanted,) = scenario.read("idle", table)
        outcome = session.Outcome(wanted, "staffetta")
        outcome.runs = [{"idle_cpu_percent": 0.5, "idle_wakes_per_s": 20.0, "idle_s": 60.0, "anon_bytes_per_waiting": 40.0, "taken_per_s": 1e5,
            "rss_mb": 10.0, "anon_mb": 5.0, "other_cpu_share": 0.0, "messages": 3}]
        made = report.build(OPTIONS, {"idle": [wanted]}, FACTS, [], {("idle", "", "staffetta"): outcome})
        self.assertIn("0.50 % of a processor", report.text(made))
        with tempfile.TemporaryDirectory() as folder:
            record.write(pathlib.Path(folder), made)

    def test_a_record_is_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            record.write(pathlib.Path(folder), result())
            names = {file.name for file in pathlib.Path(folder).iterdir()}
            self.assertEqual(names, {"perf.json", "README.md", "rate.svg", "cpu.svg", "memory.svg"})
            json.loads((pathlib.Path(folder) / "perf.json").read_text())
            xml.parse(pathlib.Path(folder) / "rate.svg")

    def test_a_chart_of_nothing_is_empty(self):
        self.assertEqual(chart.svg("t", "u", [("a", {"postfix": (0.0, 0.0, 0.0)}), ("b", {})]), "")


class Proof(unittest.TestCase):
    """A run counts only when everything arrived once and whole."""

    GOOD = {"messages": 12, "recipients": 12, "duplicates": 0, "bytes_min": 1100, "bytes_max": 1500}

    def judge(self, **changes):
        run = object.__new__(Run)
        run.sink = types.SimpleNamespace(counts=lambda: {**self.GOOD, **changes})
        return run.arrived(12, 1024, 5000)

    def test_all_once_and_whole(self):
        self.assertEqual(self.judge(), self.GOOD)

    def test_lost_doubled_cut_and_swollen_messages_void_the_run(self):
        for changes in ({"messages": 11}, {"messages": 13}, {"recipients": 13}, {"duplicates": 1}, {"bytes_min": 900}, {"bytes_max": 9000}):
            with self.assertRaises(stage.Void):
                self.judge(**changes)
