"""One request carried through, by whichever accounts can serve it."""

from gateway.relay.relay import Relay, within
from gateway.relay.tried import may_try_elsewhere
from gateway.relay.work import Relayed, Served, Work

__all__ = ["Relay", "Relayed", "Served", "Work", "may_try_elsewhere", "within"]
