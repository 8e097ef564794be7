"""The JSON door behind the phones page: prompts and what a person does with them, faults, time and counts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from daraja.simulator.faults import DOORS, UnknownFault
from daraja.simulator.messages import is_phone
from daraja.simulator.outcomes import KINDS, callback_text
from daraja.simulator.prompts import Prompt, PromptClosed, UnknownPrompt

if TYPE_CHECKING:
    from daraja.simulator.simulator import Simulator

_ROOT = "/simulator/api"
_MOST_LISTED = 200
_MOST_ADVANCE_SECONDS = 10 * 86_400
_MOST_OUTAGE_SECONDS = 86_400
_MOST_SHILLINGS = 1_000_000_000


class Control:
    """Steers one simulator over HTTP. It trusts whoever reaches it: the money here is not real."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._actions: Mapping[str, Callable[[str], Prompt]] = {
            "approve": simulator.approve,
            "wrong-pin": simulator.wrong_pin,
            "cancel": simulator.cancel,
            "ignore": simulator.ignore,
        }

    def blueprint(self) -> Blueprint:
        """Return the doors for a Flask application."""
        doors = Blueprint("control", __name__, url_prefix=_ROOT)
        doors.get("/health")(self.health)
        doors.get("/prompts")(self.list_prompts)
        doors.get("/prompts/<checkout_request_id>")(self.show_prompt)
        doors.post("/prompts/<checkout_request_id>/<action>")(self.act)
        doors.get("/statistics")(self.show_statistics)
        doors.get("/numbers")(self.list_numbers)
        doors.get("/faults")(self.show_faults)
        doors.post("/faults")(self.set_faults)
        doors.get("/chaos")(self.show_chaos)
        doors.post("/chaos")(self.turn_chaos)
        doors.post("/wallets/<phone>")(self.set_wallet)
        doors.post("/clock")(self.move_clock)
        doors.post("/reset")(self.reset)
        doors.register_error_handler(UnknownPrompt, lambda error: _problem(404, error))
        doors.register_error_handler(PromptClosed, lambda error: _problem(409, error))
        doors.register_error_handler(UnknownFault, lambda error: _problem(400, error))
        doors.register_error_handler(BadRequest, lambda error: _problem(400, error.description))
        return doors

    def health(self) -> Response:
        """Say that the simulator answers."""
        return jsonify(status="up")

    def list_prompts(self) -> Response:
        """List prompts, open ones first; `phone`, `state=open` and `limit` narrow the list."""
        limit = min(request.args.get("limit", 50, type=int), _MOST_LISTED)
        open_only = request.args.get("state") == "open"
        found = self._simulator.prompts(request.args.get("phone") or None, open_only=open_only)
        now = self._simulator.now()
        return jsonify(prompts=[self._describe(prompt, now) for prompt in found[: max(limit, 0)]])

    def show_prompt(self, checkout_request_id: str) -> Response:
        """Show one prompt."""
        return self._one(self._simulator.prompt(checkout_request_id))

    def act(self, checkout_request_id: str, action: str) -> Response:
        """Do what a person would: `approve`, `wrong-pin`, `cancel` or `ignore`."""
        if action not in self._actions:
            raise BadRequest(f"The actions are {', '.join(self._actions)}.")
        return self._one(self._actions[action](checkout_request_id))

    def show_statistics(self) -> Response:
        """Show how many of each thing happened."""
        return jsonify(self._simulator.statistics())

    def list_numbers(self) -> Response:
        """List the numbers whose outcome is fixed."""
        rows = [{"number": "25470000CCCC", "about": "Ends at once with result code CCCC"}]
        rows += [{"number": f"25470001{kind}NN", "about": script.about} for kind, script in KINDS.items()]
        return jsonify(numbers=rows)

    def show_faults(self) -> Response:
        """Show which faults are set."""
        return jsonify(self._simulator.faults.describe(self._simulator.now()))

    def set_faults(self) -> Response:
        """Add faults by name for the next requests, script the query, choose the pending shape, start an outage."""
        wanted = _body()
        unknown = set(wanted) - {*DOORS, "query_script", "pending", "outage"}
        if unknown:
            raise BadRequest(f"Faults are set for {', '.join(DOORS)}, query_script, pending and outage.")
        faults = self._simulator.faults
        for door in DOORS:
            faults.add(door, _names(wanted, door))
        if "query_script" in wanted:
            faults.script_queries(_names(wanted, "query_script"))
        if "pending" in wanted:
            faults.set_pending_shape(str(wanted["pending"]))
        if "outage" in wanted:
            self._start_outage(wanted["outage"])
        return self.show_faults()

    def show_chaos(self) -> Response:
        """Show whether chaos is on, and of which seed."""
        return jsonify(on=self._simulator.chaos.is_on, seed=self._simulator.chaos.seed)

    def turn_chaos(self) -> Response:
        """Turn chaos on, with a seed or the one it had, or off."""
        wanted = _body()
        on, seed = wanted.get("on"), wanted.get("seed")
        is_seed = isinstance(seed, int) and not isinstance(seed, bool)
        if not isinstance(on, bool) or set(wanted) - {"on", "seed"} or not (seed is None or is_seed):
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
        shillings = _number(_body(), "balance", _MOST_SHILLINGS)
        if shillings != int(shillings):
            raise BadRequest("balance is in whole shillings.")
        self._simulator.set_balance(phone, int(shillings))
        return jsonify(phone=phone, balance=self._simulator.balance(phone))

    def move_clock(self) -> Response:
        """Move the simulator's time on."""
        done = self._simulator.advance(_number(_body(), "advance_seconds", _MOST_ADVANCE_SECONDS))
        return jsonify(now=self._simulator.now().isoformat(), done=done)

    def reset(self) -> Response:
        """Forget everything but the token."""
        self._simulator.reset()
        return jsonify(status="reset")

    def _start_outage(self, outage: object) -> None:
        if not isinstance(outage, dict):
            raise BadRequest('outage is an object, such as {"seconds": 30, "fault": "html-503"}.')
        seconds = _number(outage, "seconds", _MOST_OUTAGE_SECONDS)
        self._simulator.start_outage(seconds, str(outage.get("fault", "html-503")))

    def _one(self, prompt: Prompt) -> Response:
        return jsonify(self._describe(prompt, self._simulator.now()))

    def _describe(self, prompt: Prompt, now: datetime) -> dict[str, object]:
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


def _problem(status: int, error: object) -> tuple[Response, int]:
    return jsonify(error=str(error)), status


def _body() -> dict[str, object]:
    document = request.get_json(force=True, silent=True)
    if not isinstance(document, dict):
        raise BadRequest("Send a JSON object.")
    return document


def _names(wanted: Mapping[str, object], key: str) -> list[str]:
    value = wanted.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest(f'{key} is a list of names, such as ["busy", "busy"].')
    return value


def _number(document: Mapping[str, object], key: str, most: float) -> float:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise BadRequest(f"{key} is a number from 0 to {most:g}.")
    return value
