"""A simulated Daraja: a real HTTP server with Safaricom's wire format, faults included."""

from daraja.simulator.app import create_simulator, run
from daraja.simulator.faults import UnknownFault
from daraja.simulator.prompts import PromptClosed, PromptOutcome, StkPrompt, UnknownPrompt
from daraja.simulator.simulator import PortTaken, Simulator
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import StateFileProblem

__all__ = [
    "PortTaken",
    "PromptClosed",
    "PromptOutcome",
    "Simulator",
    "SimulatorSettings",
    "StateFileProblem",
    "StkPrompt",
    "UnknownFault",
    "UnknownPrompt",
    "create_simulator",
    "run",
]
