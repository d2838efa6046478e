"""What every sender can be asked; an adapter says how its engine does it."""

from .. import group


class Sender:
    """One engine in one run. `start` brings it up with `port` open; everything that it starts belongs to `group`."""

    name = ""
    durable = False
    """Whether a message is on the disk before it is acknowledged, as it is configured here."""
    durability = ""
    """The same in words."""

    def __init__(self, place, scenario, sink):
        self.place, self.scenario, self.sink = place, scenario, sink
        self.port = 0
        self.group = group.Group(self.name)

    @classmethod
    def missing(cls, options, scenario):
        """Why it cannot run this scenario here; none when it can."""
        return None

    @classmethod
    def version(cls, options):
        return ""

    def start(self):
        raise NotImplementedError

    def hold(self):
        """From now on mail is taken and kept."""
        raise NotImplementedError

    def release(self):
        """Lets go of what is kept."""
        raise NotImplementedError

    def queued(self):
        """Messages that it keeps; none when it cannot say."""
        return None

    def delivered(self):
        """Messages of which it has written down that they are delivered; none when it cannot say."""
        return None

    def settle(self, delivered):
        """Returns when it has written down that so many are delivered."""

    def figures(self):
        """What only this engine can tell, for the result."""
        return {}

    def stop(self):
        self.group.close()
