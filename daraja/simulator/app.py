"""The Flask application of a simulator: Daraja's endpoints, the control API and the phones' pages."""

import logging
import signal
import threading
from _thread import start_new_thread

from flask import Flask

from daraja.simulator.books_control import BooksControl
from daraja.simulator.control import Control
from daraja.simulator.initiator_api import InitiatorApi
from daraja.simulator.kenya_time import Clock, utc_now
from daraja.simulator.phone_pages import phone_pages
from daraja.simulator.pipeline import RequestPipeline
from daraja.simulator.simulator import Simulator
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.stk_api import StkApi

_log = logging.getLogger(__name__)


def create_simulator(settings: SimulatorSettings, clock: Clock = utc_now) -> Simulator:
    """Return a simulator; nothing listens and no thread runs until its `start`."""
    return Simulator(settings, clock, create_app)


def create_app(simulator: Simulator) -> Flask:
    """Return the WSGI application that serves a simulator."""
    app = Flask(__name__)
    pipeline = RequestPipeline(simulator)
    app.register_blueprint(StkApi(simulator, pipeline).blueprint())
    app.register_blueprint(InitiatorApi(simulator, pipeline).blueprint())
    app.register_blueprint(Control(simulator).blueprint())
    app.register_blueprint(BooksControl(simulator).blueprint())
    app.register_blueprint(phone_pages(simulator.settings))
    return app


def run(settings: SimulatorSettings) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop cleanly. Call it on the main thread; raise PortTaken."""
    simulator = create_simulator(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # In a thread: the signal may have come while this one held the event's lock.
        signal.signal(number, lambda *_: start_new_thread(stop.set, ()))
    base_url = simulator.start()
    _log.info("the simulator listens on %s", base_url)
    stop.wait()
    simulator.stop()
