"""A Postfix of its own: private configuration, queue and log in the stage's directory. It takes mail as a relay and
throws it away behind its own queue manager (`discard`), with a line in its log for each recipient."""

import collections
import os
import re
import shutil
import subprocess
import time

from .receivers import listens
from .stage import Skipped, free_port, need

MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/lib
command_directory = {commands}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/maillog
maillog_file_prefixes = /tmp, /var, {base}
syslog_name = postfix-interop
myhostname = relay.interop.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
local_recipient_maps =
alias_maps =
default_transport = discard:
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_peername_lookup = no
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {base}/relay.crt
smtpd_tls_key_file = {base}/relay.key
smtpd_tls_loglevel = 1
in_flow_delay = 0
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 50000
default_process_limit = 150
default_destination_concurrency_limit = 50
biff = no
enable_long_queue_ids = yes
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - 20 discard
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""

SENT = re.compile(r"discard\[\d+\]: (\w+): to=<([^>]+)>.* status=sent")
CLIENT = re.compile(r"smtpd\[\d+\]: (\w+): client=\S*\[([\d.]+)\]")
TLS = re.compile(r"TLS connection established from")


class Postfix:
    """Started by `start`, ended with the stage."""

    def __init__(self, stage):
        if os.geteuid() != 0:
            raise Skipped("Postfix's master runs only as root")
        self.program = need("postfix")
        daemons = next((path for path in ("/usr/lib/postfix/sbin", "/usr/libexec/postfix") if os.path.isdir(path)), None)
        if not daemons:
            raise Skipped("Postfix's daemons were not found")
        self.stage, self.base, self.port = stage, stage.path("postfix"), free_port()
        for name in ("", "etc", "queue", "lib"):
            (self.base / name).mkdir(mode=0o755)
        shutil.chown(self.base / "lib", "postfix")
        names = {"base": self.base, "port": self.port, "daemons": daemons, "commands": os.path.dirname(self.program)}
        (self.base / "etc/main.cf").write_text(MAIN.format(**names))
        (self.base / "etc/master.cf").write_text(MASTER.format(**names))
        made = stage.run([need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                          "/CN=relay.interop.test", "-keyout", self.base / "relay.key", "-out", self.base / "relay.crt"])
        if made.returncode:
            raise Skipped(f"openssl made no certificate: {made.stderr.strip()[-200:]}")
        self.offset, self.sent, self.by_ip, self.sessions_tls = 0, collections.Counter(), collections.Counter(), 0

    def start(self):
        self.stage.closers.append(self.stop)
        self.postfix("start")
        self.stage.wait("Postfix", lambda: listens(self.port), 20)

    def postfix(self, verb):
        return subprocess.run([self.program, "-c", self.base / "etc", verb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def stop(self):
        pid = self.base / "queue/pid/master.pid"
        master = int(pid.read_text()) if pid.exists() else None
        self.postfix("stop")
        until = time.monotonic() + 20
        while master and os.path.exists(f"/proc/{master}") and time.monotonic() < until:
            time.sleep(0.1)

    def read(self):
        """Reads what the log has gained: recipients sent, messages per client address, TLS sessions."""
        try:
            with open(self.base / "maillog", "rb") as log:
                log.seek(self.offset)
                text = log.read()
        except FileNotFoundError:
            return self
        whole = text.rfind(b"\n") + 1
        self.offset += whole
        for line in text[:whole].decode(errors="replace").splitlines():
            if found := SENT.search(line):
                self.sent[found[2]] += 1
            elif found := CLIENT.search(line):
                self.by_ip[found[2]] += 1
            elif TLS.search(line):
                self.sessions_tls += 1
        return self
