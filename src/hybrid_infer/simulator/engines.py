"""OpenAI-compatible engines as the simulator plays them: on Modal, and a plain one that is always there."""

from __future__ import annotations

from hybrid_infer.simulator import engine_wire
from hybrid_infer.simulator.answers import answer
from hybrid_infer.simulator.ask import Ask, NotAcceptedError, read
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.modal import ModalPlan, ModalServer
from hybrid_infer.simulator.replica import Replica, ReplicaWork, machine_for
from hybrid_infer.simulator.together import has_bearer
from hybrid_infer.simulator.together_wire import output_tokens


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
        read_as = _understood(request, name, self._chance.epoch)
        if isinstance(read_as, Response):
            return _cold() if self.server.knock(moment) else read_as
        choices = answer(read_as, self._chance.seed)
        begun = self.server.begin(read_as.model, read_as.input_tokens, output_tokens(choices), moment)
        if begun == "cold":
            return _cold()
        if begun == "full":
            return engine_wire.text(429, "modal-http: every container has all the requests it takes")
        return engine_wire.answered(
            read_as, read_as.model or name, choices, begun, self._chance.stamp(moment)
        )


class PlainAPI:
    """An engine on one machine, without credentials, cold start or bill."""

    def __init__(self, model: str, chance: Chance) -> None:
        self._model = model
        self._chance = chance
        self._replica: Replica | None = None

    def receive(self, request: Request, moment: float) -> Response:
        """Answer a request. The first model that is named decides about the machine."""
        read_as = _understood(request, self._model, self._chance.epoch)
        if isinstance(read_as, Response):
            return read_as
        model = read_as.model or self._model
        if self._replica is None:
            self._replica = Replica(machine_for(model), now=moment)
        choices = answer(read_as, self._chance.seed)
        work = ReplicaWork(self._replica, read_as.input_tokens, output_tokens(choices), moment)
        return engine_wire.answered(read_as, model, choices, work, self._chance.stamp(moment))


def _understood(request: Request, model: str, created: int) -> Ask | Response:
    """What is asked, or the answer to what needs no model."""
    place = request.method, request.path.partition("?")[0]
    if place == ("POST", "/v1/chat/completions"):
        try:
            return read(request.body)
        except NotAcceptedError as error:
            return engine_wire.error(400, "BadRequestError", error.message, param=error.param)
    if place == ("GET", "/v1/models"):
        return engine_wire.models(model, created)
    return engine_wire.healthy() if place == ("GET", "/health") else engine_wire.not_found()


def _cold() -> Response:
    return engine_wire.text(503, "modal-http: no container is ready")
