"""The engines that are measured: each is started with its configuration from perf/peers, held, released and stopped alike."""

from .kumomta import Kumomta, KumomtaSync
from .postfix import Postfix
from .staffetta import Staffetta

ALL = {sender.name: sender for sender in (Staffetta, Postfix, Kumomta, KumomtaSync)}
"""In the order of the table."""
