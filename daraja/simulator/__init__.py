"""A simulated Daraja: a real HTTP server that speaks Safaricom's wire format, faults included."""

from daraja.simulator.faults import UnknownFault
from daraja.simulator.journal import StateFileProblem
from daraja.simulator.prompts import Outcome, Prompt, PromptClosed, UnknownPrompt
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.simulator import PortTaken, Simulator, create_simulator, run

__all__ = [
    "Outcome",
    "PortTaken",
    "Prompt",
    "PromptClosed",
    "Simulator",
    "SimulatorSettings",
    "StateFileProblem",
    "UnknownFault",
    "UnknownPrompt",
    "create_simulator",
    "run",
]
