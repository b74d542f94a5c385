"""Network namespaces joined by veth that stand for hypervisors, guests and the world outside."""

from .agent import Agent, AgentFailed, Control, program
from .capture import Capture
from .description import STANDARD, Description, DescriptionError, load
from .lab import Lab, LabError
from .namespace import Namespace
from .nic import NicError, SimulatedNic
from .ping import PingResult

__all__ = [
    "STANDARD",
    "Agent",
    "AgentFailed",
    "Capture",
    "Control",
    "Description",
    "DescriptionError",
    "Lab",
    "LabError",
    "Namespace",
    "NicError",
    "PingResult",
    "SimulatedNic",
    "load",
    "program",
]
