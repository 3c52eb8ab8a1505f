"""Together's API as the simulator plays it: serverless models and dedicated endpoints at one address."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hybrid_infer.simulator import together_wire
from hybrid_infer.simulator.answers import answer
from hybrid_infer.simulator.ask import Ask, NotAcceptedError, read
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.control_plane.api import ControlPlane
from hybrid_infer.simulator.control_plane.fleet import Fleet
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import Endpoint, EndpointPlan, Initial
from hybrid_infer.simulator.defaults import SERVERLESS_MODEL
from hybrid_infer.simulator.exchange import Headers, Request, Response
from hybrid_infer.simulator.operations.account import Account
from hybrid_infer.simulator.operations.made import Made, missing
from hybrid_infer.simulator.operations.rooms import made_of
from hybrid_infer.simulator.serverless import STREAMS_ONLY, Serverless, ServerlessPlan
from hybrid_infer.simulator.together_wire import Stamp, output_tokens

TogetherMode = Literal["together-serverless", "together-dedicated"]


class TogetherAPI:
    """Both Together modes.

    Args:
        control: how their control plane behaves.
        epoch: the time of day of the world's beginning.
        initial: how dedicated endpoints are found.
        names: models that are dedicated endpoints where the mode is not said.

    Attributes:
        seen: requests by mode; those that name no model count as serverless.
        account: its files, batches and videos, which belong to no model.
    """

    def __init__(
        self,
        *,
        serverless: ServerlessPlan,
        endpoint: EndpointPlan,
        control: ControlPlan,
        epoch: datetime,
        initial: Initial,
        names: tuple[str, ...],
        chance: Chance,
    ) -> None:
        self.serverless = Serverless(serverless, chance.of)
        self.seen: dict[TogetherMode, int] = {"together-serverless": 0, "together-dedicated": 0}
        self._fleet = Fleet(endpoint, control, initial=initial, names=names, chance=chance)
        self._control = ControlPlane(self._fleet, control, chance, epoch, machines=endpoint)
        self._names = names
        self._chance = chance
        self.account = Account(chance, model=None, bill=self.serverless.units.add)

    def receive(
        self, request: Request, moment: float, mode: TogetherMode | None, model: str | None = None
    ) -> Response:
        """Answer a request; without a mode the name of the model decides, as it does at Together."""
        if self._control.takes(request):
            return self._control.receive(request, moment, known=has_bearer(request))
        place = request.method, request.path.partition("?")[0]
        if mode is None:
            named = model is not None and self._fleet.knows(model)
            mode = "together-dedicated" if named else "together-serverless"
        self.seen[mode] += 1
        stamp = self._chance.stamp(moment)
        if (put := self.account.put(request)) is not None:
            return put
        if not has_bearer(request):
            return together_wire.error(401, "Invalid API key provided.", id=stamp.id, code="invalid_api_key")
        if place == ("GET", "/v1/models"):
            names = (SERVERLESS_MODEL, *sorted(STREAMS_ONLY), *self._names)
            return together_wire.models(names, self._chance.epoch)
        try:
            asked = self._asked(request, mode, stamp, moment)
            if isinstance(asked, Ask | Made) and not asked.model:
                raise missing("model")
        except NotAcceptedError as error:
            return together_wire.error(
                error.status, error.message, id=stamp.id, code=error.code, param=error.param
            )
        if asked is None:
            return together_wire.error(404, f"No route for {' '.join(place)}", id=stamp.id, code="not_found")
        if isinstance(asked, Response):
            return asked
        answer_as = self._ask_dedicated if mode == "together-dedicated" else self._ask_serverless
        return answer_as(asked, asked.model or "", stamp, moment)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The dedicated endpoints that exist."""
        return self._fleet.machines()

    def all_endpoints(self, moment: float) -> tuple[Endpoint, ...]:
        """As `endpoints`, after making those that are known by name, where there is none yet."""
        return self._fleet.all_machines(moment)

    def _asked(
        self, request: Request, mode: TogetherMode, stamp: Stamp, moment: float
    ) -> Ask | Made | Response | None:
        """What is asked of a model, or the account's answer; None for what has no route."""
        if (request.method, request.path.partition("?")[0]) == ("POST", "/v1/chat/completions"):
            return read(request.body)
        made = made_of(request, mode=mode, stamp=stamp, model=None, seed=self._chance.seed)
        return made or self.account.receive(request, mode=mode, stamp=stamp, now=moment)

    def _ask_serverless(self, ask: Ask | Made, model: str, stamp: Stamp, moment: float) -> Response:
        if model in STREAMS_ONLY and (ask.whole_text if isinstance(ask, Made) else not ask.stream):
            message = 'This model only supports streaming. Set "stream": true.'
            return together_wire.error(400, message, id=stamp.id, code="streaming_required", param="stream")
        admission = self.serverless.admit(model, ask.input_tokens, moment)
        headers: Headers = (("x-request-id", stamp.id), *admission.headers)
        if admission.limited is not None:
            message = f"You have reached the dynamic rate limit of {model}. Wait x-ratelimit-reset seconds."
            return together_wire.error(429, message, id=stamp.id, kind=admission.limited, headers=headers)
        if isinstance(ask, Made):
            work = self.serverless.start(
                model, ask.input_tokens, ask.output_tokens, moment, billed=ask.billed
            )
            return ask.answered(work, headers)
        choices = answer(ask, self._chance.seed)
        work = self.serverless.start(model, ask.input_tokens, output_tokens(choices), moment)
        return together_wire.answered(ask, model, choices, work, stamp, headers)

    def _ask_dedicated(self, ask: Ask | Made, model: str, stamp: Stamp, moment: float) -> Response:
        endpoint, refusal = self._fleet.serving(model, moment)
        if endpoint is None and refusal is None:
            message = f"Unable to find the model {model}."
            return together_wire.error(404, message, id=stamp.id, code="model_not_found")
        if endpoint is None or refusal is not None:
            message = (
                f"The dedicated endpoint for {model} is not running."
                if refusal == "dedicated_endpoint_not_running"
                else f"No traffic is routed to a deployment of the endpoint {model}."
            )
            return together_wire.error(400, message, id=stamp.id, code=refusal)
        if isinstance(ask, Made):
            made = endpoint.begin(ask.input_tokens, ask.output_tokens, moment)
            return ask.answered(made, (("x-request-id", stamp.id),))
        choices = answer(ask, self._chance.seed)
        work = endpoint.begin(ask.input_tokens, output_tokens(choices), moment)
        return together_wire.answered(ask, model, choices, work, stamp, (("x-request-id", stamp.id),))


def has_bearer(request: Request) -> bool:
    """Whether the request carries a bearer token; any will do."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())
