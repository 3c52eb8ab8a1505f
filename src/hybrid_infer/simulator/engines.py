"""OpenAI-compatible engines as the simulator plays them: on Modal, and a plain one that is always there."""

from __future__ import annotations

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator import engine_wire
from hybrid_infer.simulator.answers import answer
from hybrid_infer.simulator.ask import Ask, NotAcceptedError, read
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.modal import ModalPlan, ModalServer
from hybrid_infer.simulator.operations.account import Account
from hybrid_infer.simulator.operations.made import Made
from hybrid_infer.simulator.operations.rooms import made_of
from hybrid_infer.simulator.replica import Replica, ReplicaWork, machine_for
from hybrid_infer.simulator.together import has_bearer
from hybrid_infer.simulator.together_wire import Stamp, output_tokens


class ModalAPI:
    """An engine in Modal's containers, behind Modal's proxy."""

    def __init__(self, plan: ModalPlan, chance: Chance) -> None:
        self.server = ModalServer(plan, chance.of)
        self.seen = 0
        self._chance = chance

    def receive(self, request: Request, moment: float) -> Response:
        """Answer a request. One without a proxy token is refused and starts nothing."""
        self.seen += 1
        pair = request.headers.get("modal-key") and request.headers.get("modal-secret")
        if not pair and not has_bearer(request):
            return engine_wire.text(401, "modal-http: missing credentials for proxy authorization")
        name = self.server.plan.model
        stamp = self._chance.stamp(moment)
        read_as = _understood(request, "modal", name, self._chance, stamp) or engine_wire.not_found()
        if isinstance(read_as, Response):
            return _cold() if self.server.knock(moment) else read_as
        choices = () if isinstance(read_as, Made) else answer(read_as, self._chance.seed)
        tokens = read_as.output_tokens if isinstance(read_as, Made) else output_tokens(choices)
        begun = self.server.begin(read_as.model, read_as.input_tokens, tokens, moment)
        if begun == "cold":
            return _cold()
        if begun == "full":
            return engine_wire.text(429, "modal-http: every container has all the requests it takes")
        if isinstance(read_as, Made):
            return read_as.answered(begun)
        return engine_wire.answered(read_as, read_as.model or name, choices, begun, stamp)


class PlainAPI:
    """An engine on one machine, without credentials, cold start or bill.

    It keeps files and runs batches, as OpenAI does and most engines do not.
    """

    def __init__(self, model: str, chance: Chance) -> None:
        self._model = model
        self._chance = chance
        self._replica: Replica | None = None
        self._account = Account(chance, model=model, bill=None)

    def receive(self, request: Request, moment: float) -> Response:
        """Answer a request. The first model that is named decides about the machine."""
        stamp = self._chance.stamp(moment)
        read_as = _understood(request, "openai-compatible", self._model, self._chance, stamp)
        if read_as is None:
            try:
                kept = self._account.receive(request, mode="openai-compatible", stamp=stamp, now=moment)
            except NotAcceptedError as error:
                return _refused(error)
            return kept or engine_wire.not_found()
        if isinstance(read_as, Response):
            return read_as
        model = read_as.model or self._model
        if self._replica is None:
            self._replica = Replica(machine_for(model), now=moment)
        if isinstance(read_as, Made):
            made = ReplicaWork(self._replica, read_as.input_tokens, read_as.output_tokens, moment)
            return read_as.answered(made)
        choices = answer(read_as, self._chance.seed)
        work = ReplicaWork(self._replica, read_as.input_tokens, output_tokens(choices), moment)
        return engine_wire.answered(read_as, model, choices, work, stamp)


def _understood(
    request: Request, mode: Mode, model: str, chance: Chance, stamp: Stamp
) -> Ask | Made | Response | None:
    """What is asked, or the answer to what needs no model; None for what an engine does not know."""
    place = request.method, request.path.partition("?")[0]
    try:
        if place == ("POST", "/v1/chat/completions"):
            return read(request.body)
        if (made := made_of(request, mode=mode, stamp=stamp, model=model, seed=chance.seed)) is not None:
            return made
    except NotAcceptedError as error:
        return _refused(error)
    if place == ("GET", "/v1/models"):
        return engine_wire.models(model, chance.epoch)
    return engine_wire.healthy() if place == ("GET", "/health") else None


def _refused(error: NotAcceptedError) -> Response:
    kind = "NotFoundError" if error.status == 404 else "BadRequestError"
    return engine_wire.error(error.status, kind, error.message, param=error.param)


def _cold() -> Response:
    return engine_wire.text(503, "modal-http: no container is ready")
