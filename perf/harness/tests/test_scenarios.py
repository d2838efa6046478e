"""Scenarios are data that is refused when it is wrong, and every configuration of a peer is complete."""

import pathlib
import subprocess
import types
import unittest
from unittest import mock

from harness import scenario, stage
from harness.senders.postfix import Postfix
from harness.senders.staffetta import Staffetta

PROMISED = {
    "relay-10k", "relay-10k-dkim", "relay-10k-tls", "relay-1k", "accept-10k", "send-10k", "campaign-20k", "campaign-20k-dkim", "backlog-1m"}
PLAIN = {"title": "t", "kind": "relay", "messages": {"other": 9}, "quick_messages": {"other": 3, "postfix": 2}}


class Scenarios(unittest.TestCase):
    def test_all_that_are_promised_run_without_being_asked_for(self):
        known = scenario.load()
        self.assertEqual(PROMISED, {name for name, (base, *_) in known.items() if not base.extra})

    def test_a_variant_is_its_base_with_changes(self):
        base, half = scenario.read("x", {**PLAIN, "variant": {"half": {"load": 0.5}}})
        self.assertEqual((base.load, half.load, half.kind, half.label), (1.0, 0.5, "relay", "x, half"))

    def test_unknown_keys_and_impossible_values_are_refused(self):
        for wrong in (
                {"sise": 1}, {"kind": "relais"}, {"load": 0.0}, {"mode": "fast"}, {"messages": {"postfix": 1}}, {"shards": 256}, {"scale": "load"},
                {"settle": 1}, {"sites": 2}, {"sites": 2, "destinations": 2}, {"kind": "send", "settle": 5}, {"kind": "idle"}, {"kind": "idle", "senders": ["staffetta", "postfix"]}):
            with self.assertRaises(scenario.Wrong):
                scenario.read("x", {**PLAIN, **wrong})

    def test_what_is_scaled_differs_between_base_and_variants(self):
        for name, (base, *more) in scenario.load().items():
            if base.scale:
                sizes = [one.size("staffetta", quick) for one in (base, *more) for quick in (True, False)]
                self.assertEqual(len(set(sizes)), len(more) + 1 if base.scale != "messages" else 2 * len(more) + 2, name)

    def test_a_small_run_settles_before_its_half(self):
        (one,) = scenario.read("x", {**PLAIN, "kind": "send", "messages": {"other": 900}, "quick_messages": {"other": 400}, "settle": 200})
        self.assertEqual((scenario.scaled(one, 100).settle, scenario.scaled(one, 1000).settle), (50, 200))

    def test_a_sender_that_is_not_named_gets_the_number_for_others(self):
        (one,) = scenario.read("x", dict(PLAIN))
        self.assertEqual((one.count("postfix", True), one.count("kumomta", True), one.count("postfix", False)), (2, 3, 9))


class Configurations(unittest.TestCase):
    def sender(self, kind, **changes):
        (wanted,) = scenario.read("x", {**PLAIN, **changes})
        place = types.SimpleNamespace(dir=pathlib.Path("/nowhere"), signing_key=lambda: "/nowhere/key", cpus="")
        sender = object.__new__(kind)
        sender.place, sender.scenario, sender.sink, sender.port = place, wanted, types.SimpleNamespace(port=2526), 2525
        return sender

    def test_a_name_without_a_value_is_a_fault(self):
        with mock.patch.object(pathlib.Path, "read_text", return_value="a @b@"), self.assertRaises(KeyError):
            stage.fill(pathlib.Path("x"))

    def test_the_engines_is_complete(self):
        for changes in ({}, {"signed": True, "tls": True, "pipeline_depth": 3}):
            text = self.sender(Staffetta, **changes).configuration()
            self.assertNotRegex(text, stage.TOKEN)
            self.assertEqual("key_file" in text, bool(changes))
            self.assertEqual("pipeline_depth = 3" in text, bool(changes))
            self.assertEqual("shards" in text, False)
        self.assertIn("\nshards = 1\n", self.sender(Staffetta, shards=1).configuration())

    def test_every_domain_has_its_way_to_one_of_the_sites(self):
        text = self.sender(Staffetta, senders=["staffetta"], sites=300, destinations=600).configuration()
        self.assertEqual(text.count("[[route]]"), 601)
        self.assertIn('domain = "d00299.sink.test"\nhosts = ["127.0.1.44:2526"]', text)
        self.assertIn('domain = "d00300.sink.test"\nhosts = ["127.0.0.1:2526"]', text)

    def test_postfixs_is_complete_and_held_without_its_queue_manager(self):
        written = {}
        sender = self.sender(Postfix, tls=True)
        sender.base, sender.program, sender.milter_port = pathlib.Path("/nowhere"), "/usr/sbin/postfix", 1
        keep = lambda path, text: written.__setitem__(path.name, text)
        with mock.patch.object(pathlib.Path, "write_text", autospec=True, side_effect=keep):
            sender.configure(held=True)
            self.assertIn("\n#qmgr", written["master.cf"])
            sender.configure(held=False)
        self.assertIn("\nqmgr", written["master.cf"])
        self.assertIn("smtp_tls_security_level = encrypt", written["main.cf"])
        for text in written.values():
            self.assertNotRegex(text, stage.TOKEN)


class Programs(unittest.TestCase):
    def test_the_command_lists_its_scenarios(self):
        run = pathlib.Path(__file__).resolve().parents[2] / "run"
        done = subprocess.run([run, "--scenario", "list"], capture_output=True, text=True)
        self.assertEqual(PROMISED - {line.split()[0] for line in done.stdout.splitlines()}, set(), done.stderr)
        wrong = subprocess.run([run, "--scenario", "no-such"], capture_output=True, text=True)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("no-such", wrong.stderr)
