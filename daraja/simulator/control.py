"""The control API behind the phones page: prompts and what a payer does with them, faults, time and counts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from daraja.simulator.control_bodies import problem, read_names, read_number, read_object, read_whole
from daraja.simulator.faults import DELIVERY_KINDS, ENDPOINTS, Endpoint, UnknownFault
from daraja.simulator.gateway_requests import is_phone
from daraja.simulator.outcomes import KINDS, RECORDED_ANSWERS, callback_text
from daraja.simulator.prompts import PromptClosed, StkPrompt, UnknownPrompt
from daraja.simulator.simulator import Simulator
from daraja.simulator.spike_arrest import CallRate
from daraja.simulator.state_file import StateFileProblem

_ROOT = "/simulator/api"
_MAX_LISTED = 200
_MAX_ADVANCE_SECONDS = 10 * 86_400
_MAX_OUTAGE_SECONDS = 86_400
_MAX_SHILLINGS = 1_000_000_000
_MAX_CALLS = 1_000_000
_OTHER_FAULTS = ("query_script", "pending", "outage", "rates")
_RATE_EXAMPLE = (
    'rates is an object, such as {"query": {"calls": 5, "seconds": 60, "burst": 1}}, or null for no limit.'
)


class Control:
    """Steers one simulator over HTTP, without authentication: the money here is not real."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._actions: Mapping[str, Callable[[str], StkPrompt]] = {
            "approve": simulator.approve,
            "wrong-pin": simulator.wrong_pin,
            "cancel": simulator.cancel,
            "ignore": simulator.ignore,
        }

    def blueprint(self) -> Blueprint:
        """Return the endpoints for a Flask application."""
        blueprint = Blueprint("control", __name__, url_prefix=_ROOT)
        blueprint.get("/health")(self.health)
        blueprint.get("/prompts")(self.list_prompts)
        blueprint.get("/prompts/<checkout_request_id>")(self.show_prompt)
        blueprint.post("/prompts/<checkout_request_id>/<action>")(self.act)
        blueprint.get("/statistics")(self.show_statistics)
        blueprint.get("/numbers")(self.list_numbers)
        blueprint.get("/faults")(self.show_faults)
        blueprint.post("/faults")(self.set_faults)
        blueprint.get("/chaos")(self.show_chaos)
        blueprint.post("/chaos")(self.turn_chaos)
        blueprint.post("/wallets/<phone>")(self.set_wallet)
        blueprint.post("/clock")(self.move_clock)
        blueprint.post("/reset")(self.reset)
        blueprint.register_error_handler(UnknownPrompt, lambda error: problem(404, error))
        blueprint.register_error_handler(PromptClosed, lambda error: problem(409, error))
        blueprint.register_error_handler(StateFileProblem, lambda error: problem(503, error))
        blueprint.register_error_handler(UnknownFault, lambda error: problem(400, error))
        blueprint.register_error_handler(BadRequest, lambda error: problem(400, error.description))
        return blueprint

    def health(self) -> Response:
        """Say that the simulator answers."""
        return jsonify(status="up")

    def list_prompts(self) -> Response:
        """List prompts, open ones first; `phone`, `state=open` and `limit` narrow the list."""
        limit = min(request.args.get("limit", 50, type=int), _MAX_LISTED)
        open_only = request.args.get("state") == "open"
        prompts = self._simulator.prompts(request.args.get("phone") or None, open_only=open_only)
        now = self._simulator.now()
        return jsonify(prompts=[self._describe(prompt, now) for prompt in prompts[: max(limit, 0)]])

    def show_prompt(self, checkout_request_id: str) -> Response:
        """Show one prompt."""
        return self._one(self._simulator.prompt(checkout_request_id))

    def act(self, checkout_request_id: str, action: str) -> Response:
        """Do what a payer would: `approve`, `wrong-pin`, `cancel` or `ignore`."""
        if action not in self._actions:
            raise BadRequest(f"The actions are {', '.join(self._actions)}.")
        return self._one(self._actions[action](checkout_request_id))

    def show_statistics(self) -> Response:
        """Show the counts since the start or the last reset."""
        return jsonify(self._simulator.statistics())

    def list_numbers(self) -> Response:
        """List the numbers whose outcome is fixed."""
        rows = [{"number": "25470000CCCC", "about": "Ends at once with result code CCCC"}]
        rows += [{"number": f"25470001{kind}NN", "about": script.about} for kind, script in KINDS.items()]
        return jsonify(numbers=rows)

    def show_faults(self) -> Response:
        """Show which faults are set."""
        return jsonify(self._simulator.faults.describe())

    def set_faults(self) -> Response:
        """Add faults by name for the next requests, script the query, choose the pending shape, start an outage."""
        changes = read_object()
        if set(changes) - {*ENDPOINTS, *DELIVERY_KINDS, *_OTHER_FAULTS}:
            raise BadRequest(
                f"Faults are set for {', '.join((*ENDPOINTS, *DELIVERY_KINDS, *_OTHER_FAULTS))}."
            )
        faults = self._simulator.faults
        for endpoint in ENDPOINTS:
            faults.add(endpoint, read_names(changes, endpoint))
        for kind in DELIVERY_KINDS:
            faults.add_delivery_faults(kind, read_names(changes, kind))
        if "query_script" in changes:
            self._script_queries(changes)
        if "rates" in changes:
            self._limit(changes["rates"])
        if "pending" in changes:
            faults.set_pending_shape(str(changes["pending"]))
        if "outage" in changes:
            self._start_outage(changes["outage"])
        return self.show_faults()

    def show_chaos(self) -> Response:
        """Show whether chaos is on, and its seed."""
        return jsonify(on=self._simulator.chaos.is_on, seed=self._simulator.chaos.seed)

    def turn_chaos(self) -> Response:
        """Turn chaos on, with a seed or the one it had, or off."""
        changes = read_object()
        on, seed = changes.get("on"), changes.get("seed")
        is_seed = isinstance(seed, int) and not isinstance(seed, bool)
        if not isinstance(on, bool) or set(changes) - {"on", "seed"} or not (seed is None or is_seed):
            raise BadRequest('Send {"on": true, "seed": 7}, or without a seed, or {"on": false}.')
        if on:
            self._simulator.chaos.turn_on(seed if isinstance(seed, int) else None)
        else:
            self._simulator.chaos.turn_off()
        return self.show_chaos()

    def set_wallet(self, phone: str) -> Response:
        """Set a wallet's balance in whole shillings."""
        if not is_phone(phone):
            raise BadRequest("A wallet belongs to a phone: 254, then 7 or 1, then eight digits.")
        self._simulator.set_balance(phone, read_whole(read_object(), "balance", 0, _MAX_SHILLINGS))
        return jsonify(phone=phone, balance=self._simulator.balance(phone))

    def move_clock(self) -> Response:
        """Advance the simulated time."""
        done = self._simulator.advance(read_number(read_object(), "advance_seconds", _MAX_ADVANCE_SECONDS))
        return jsonify(now=self._simulator.now().isoformat(), done=done)

    def reset(self) -> Response:
        """Forget everything but the valid token."""
        self._simulator.reset()
        return jsonify(status="reset")

    def _script_queries(self, changes: Mapping[str, object]) -> None:
        """Take a list of answers, or the name of a recording, which is replayed answer by answer."""
        script = changes["query_script"]
        if not isinstance(script, str):
            self._simulator.faults.script_queries(*read_names(changes, "query_script"))
        elif script in RECORDED_ANSWERS:
            self._simulator.faults.script_queries(*RECORDED_ANSWERS[script])
        else:
            raise BadRequest(f"query_script is a list of names, or one of {', '.join(RECORDED_ANSWERS)}.")

    def _limit(self, rates: object) -> None:
        if not isinstance(rates, dict) or set(rates) - set(ENDPOINTS):
            raise BadRequest(_RATE_EXAMPLE)
        for endpoint, rate in rates.items():
            self._simulator.faults.limit(cast("Endpoint", endpoint), None if rate is None else _rate(rate))

    def _start_outage(self, outage: object) -> None:
        if not isinstance(outage, dict):
            raise BadRequest('outage is an object, such as {"seconds": 30, "fault": "html-503"}.')
        seconds = read_number(outage, "seconds", _MAX_OUTAGE_SECONDS)
        self._simulator.faults.start_outage(seconds, str(outage.get("fault", "html-503")))

    def _one(self, prompt: StkPrompt) -> Response:
        return jsonify(self._describe(prompt, self._simulator.now()))

    def _describe(self, prompt: StkPrompt, now: datetime) -> dict[str, object]:
        outcome = prompt.outcome
        return {
            "id": prompt.checkout_request_id,
            "phone": prompt.phone,
            "business": self._simulator.settings.business_name,
            "amount": prompt.amount_shillings,
            "account_reference": prompt.account_reference,
            "description": prompt.description,
            "state": "open" if outcome is None else "paid" if prompt.is_paid else "failed",
            "opened_at": prompt.opened_at.isoformat(),
            "seconds_left": max(0, round((prompt.expires_at - now).total_seconds())),
            "closed_at": outcome.at.isoformat() if outcome else None,
            "result_code": outcome.code if outcome else None,
            "result_text": callback_text(outcome.code) if outcome else None,
            "receipt": outcome.receipt if outcome else None,
            "balance": outcome.balance_shillings if outcome else None,
            "deliveries": list(prompt.deliveries),
        }


def _rate(changes: object) -> CallRate:
    if not isinstance(changes, dict) or set(changes) - {"calls", "seconds", "burst"}:
        raise BadRequest(_RATE_EXAMPLE)
    calls, burst = (read_whole({"burst": 1, **changes}, name, 1, _MAX_CALLS) for name in ("calls", "burst"))
    try:
        return CallRate(calls, read_number(changes, "seconds", _MAX_OUTAGE_SECONDS), burst)
    except ValueError as error:
        raise BadRequest(str(error)) from error
