"""Exim and OpenSMTPD from unpacked packages, each in a mount namespace of its own: their users and their fixed directories
exist there only, so nothing of this host is touched and no two of them meet."""

import collections
import os
import pathlib
import re
import shutil

from .receivers import listens
from .stage import Skipped, free_port, need

# Users that the packages would make, and what they need to write to; both are only inside.
USERS = ["Debian-exim", "opensmtpd", "opensmtpq"]
ENTER = """\
set -e
mount --bind {base}/passwd /etc/passwd
mount --bind {base}/group /etc/group
mount -t tmpfs -o mode=0711 none /var/spool
mount -t tmpfs -o mode=0755 none /var/lib
mount -t tmpfs -o mode=0755 none /run
mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd
chmod 0711 /var/spool/smtpd
{more}
exec {command}
"""

EXIM = """\
primary_hostname = relay.interop.test
exim_path = {program}
spool_directory = {base}/spool
log_file_path = {base}/log/%slog
pid_file_path = {base}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
disable_ipv6 = true
tls_advertise_hosts = *
tls_certificate = {base}/relay.crt
tls_privatekey = {base}/relay.key
host_lookup =
rfc1413_hosts =
pipelining_advertise_hosts = *
chunking_advertise_hosts = *
smtp_enforce_sync = true
smtp_accept_max = 50
smtp_accept_max_per_host = 50
message_size_limit = 20M
log_selector = +received_recipients +tls_cipher +pipelining
acl_smtp_rcpt = known
acl_smtp_data = acl_all
keep_environment =
never_users =
begin acl
acl_all:
  accept
known:
  deny local_parts = ^nobody
       message = unknown user
  accept
begin routers
away:
  driver = redirect
  data = :blackhole:
"""

OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname relay.interop.test
action "away" relay host smtp://127.0.0.1:{sink}
match from any for any rcpt-to regex {{ "^nobody.*" }} reject
match from any for any action "away"
"""


def place_of(options, *names):
    """The first program of these names, in the unpacked packages or on this host."""
    roots = [pathlib.Path(options.mtas)] if options.mtas else []
    for root in roots:
        for name in names:
            if (root / "usr/sbin" / name).is_file():
                return root / "usr/sbin" / name
    raise Skipped(f"{names[0]} is not there: unpack its package with dpkg -x and give --mtas DIR")


class Foreign:
    """A receiver in a namespace of its own. `command` and `more` are what is run there."""

    def __init__(self, stage, name):
        if os.geteuid() != 0:
            raise Skipped("mount namespaces need root")
        need("unshare", "openssl")
        self.stage, self.name, self.port = stage, name, free_port()
        self.base = stage.path(name)
        self.base.mkdir(mode=0o755)
        self.offset, self.taken, self.sessions_tls = 0, collections.Counter(), 0
        self.users()
        made = stage.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=relay.interop.test", "-keyout", self.base / "relay.key",
                          "-out", self.base / "relay.crt"])
        if made.returncode:
            raise Skipped(f"openssl made no certificate: {made.stderr.strip()[-200:]}")

    def users(self):
        """The accounts of this host and the ones that the packages want."""
        passwd, group = pathlib.Path("/etc/passwd").read_text(), pathlib.Path("/etc/group").read_text()
        for number, user in enumerate(USERS, 64_001):
            passwd += f"{user}:x:{number}:{number}::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n"
            group += f"{user}:x:{number}:\n"
        (self.base / "passwd").write_text(passwd)
        (self.base / "group").write_text(group)

    def enter(self, command, libraries, more=""):
        script = self.stage.write(f"{self.name}.sh", ENTER.format(base=self.base, command=command, more=more))
        log = open(self.base / "output", "wb")
        self.process = self.stage.spawn(["unshare", "--mount", "--propagation", "private", "sh", script], stdout=log, stderr=log,
                                        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)})
        log.close()
        try:
            self.stage.wait(self.name, lambda: listens(self.port), 20)
        except Exception as error:
            raise Skipped(f"{error}: {(self.base / 'output').read_text()[-300:]}") from None


def libraries_of(program):
    return program.parents[1] / "lib" / f"{os.uname().machine}-linux-gnu"


class Exim(Foreign):
    """Takes everything but `nobody…`, with a line in its log for each message, and throws it away."""

    def __init__(self, stage):
        program = place_of(stage.options, "exim4", "exim")
        super().__init__(stage, "exim")
        for name in ("spool", "log"):
            (self.base / name).mkdir()
            os.chown(self.base / name, 64_001, 64_001)
        for name in ("relay.key", "relay.crt"):
            shutil.chown(self.base / name, 64_001, 64_001)
        (self.base / "exim.conf").write_text(EXIM.format(program=program, base=self.base, port=self.port))
        (self.base / "exim.conf").chmod(0o644)
        # Only configurations that root alone could write, below a path of the same kind, keep their rights.
        self.enter(f"{program} -bdf -q1m -C {self.base}/exim.conf", libraries_of(program))

    def read(self):
        """Who has got a message, from the log: `<= sender … for recipient recipient`."""
        path = self.base / "log/mainlog"
        text = path.read_bytes()[self.offset:] if path.exists() else b""
        whole = text.rfind(b"\n") + 1
        self.offset += whole
        for line in text[:whole].decode(errors="replace").splitlines():
            if found := re.search(r" <= \S+ .* for (.+)$", line):
                self.taken.update(found[1].split())
                self.sessions_tls += " X=TLS" in line
        return self


class OpenSmtpd(Foreign):
    """Takes everything but `nobody…`, with a line in its log for each recipient, and relays it to a sink. In clear: the TLS of
    Debian 12's package fails with OpenSSL 3 (`EVP lib`), whoever connects."""

    def __init__(self, stage, sink):
        program = place_of(stage.options, "smtpd")
        super().__init__(stage, "opensmtpd")
        (self.base / "smtpd.conf").write_text(OPENSMTPD.format(base=self.base, port=self.port, sink=sink.port))
        (self.base / "smtpd.conf").chmod(0o600)
        # It looks for its helpers at a fixed place.
        helpers = program.parents[1] / "libexec/opensmtpd"
        more = f"mkdir -p /run/helpers && cp -a {helpers}/. /run/helpers && mount -t tmpfs none /usr/libexec && cp -a /run/helpers /usr/libexec/opensmtpd"
        self.enter(f"{program} -d -f {self.base}/smtpd.conf", libraries_of(program), more)

    def read(self):
        """Who has got a message, from the log: `smtp envelope … to=<recipient>`."""
        text = (self.base / "output").read_bytes()[self.offset:]
        whole = text.rfind(b"\n") + 1
        self.offset += whole
        for line in text[:whole].decode(errors="replace").splitlines():
            if found := re.search(r" smtp envelope .* to=<([^>]+)>", line):
                self.taken[found[1]] += 1
        return self
