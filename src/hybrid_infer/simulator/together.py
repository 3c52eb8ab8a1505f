"""Together's API as the simulator plays it: serverless models and dedicated endpoints at one address."""

from __future__ import annotations

from typing import Literal

from hybrid_infer.simulator import together_wire
from hybrid_infer.simulator.answers import answer
from hybrid_infer.simulator.ask import Ask, NotAcceptedError, read
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.dedicated import Endpoint, EndpointPlan, Initial
from hybrid_infer.simulator.defaults import SERVERLESS_MODEL
from hybrid_infer.simulator.exchange import Headers, Request, Response
from hybrid_infer.simulator.serverless import STREAMS_ONLY, Serverless, ServerlessPlan
from hybrid_infer.simulator.together_wire import Stamp, output_tokens

TogetherMode = Literal["together-serverless", "together-dedicated"]


class TogetherAPI:
    """Both Together modes.

    Args:
        initial: how dedicated endpoints are found.
        names: models that are dedicated endpoints where the mode is not said.

    Attributes:
        seen: requests by mode; those that name no model count as serverless.
    """

    def __init__(
        self,
        *,
        serverless: ServerlessPlan,
        endpoint: EndpointPlan,
        initial: Initial,
        names: tuple[str, ...],
        chance: Chance,
    ) -> None:
        self.serverless = Serverless(serverless, chance.of)
        self.seen: dict[TogetherMode, int] = {"together-serverless": 0, "together-dedicated": 0}
        self._endpoints: dict[str, Endpoint] = {}
        self._plan = endpoint
        self._initial: Initial = initial
        self._names = names
        self._chance = chance

    def receive(self, request: Request, moment: float, mode: TogetherMode | None) -> Response:
        """Answer a request; without a mode the name of the model decides, as it does at Together."""
        place = request.method, request.path.partition("?")[0]
        ask = _read(request.body) if place == ("POST", "/v1/chat/completions") else None
        if mode is None:
            named = isinstance(ask, Ask) and ask.model in self._names
            mode = "together-dedicated" if named else "together-serverless"
        self.seen[mode] += 1
        stamp = self._chance.stamp(moment)
        if not has_bearer(request):
            return together_wire.error(401, "Invalid API key provided.", id=stamp.id, code="invalid_api_key")
        if place == ("GET", "/v1/models"):
            names = (SERVERLESS_MODEL, *sorted(STREAMS_ONLY), *self._names)
            return together_wire.models(names, self._chance.epoch)
        if ask is None:
            return together_wire.error(404, f"No route for {' '.join(place)}", id=stamp.id, code="not_found")
        if isinstance(ask, Ask) and ask.model is None:
            ask = NotAcceptedError('"model" is missing.', param="model", code="missing_required_parameter")
        if isinstance(ask, NotAcceptedError):
            return together_wire.error(400, ask.message, id=stamp.id, code=ask.code, param=ask.param)
        answer_as = self._ask_dedicated if mode == "together-dedicated" else self._ask_serverless
        return answer_as(ask, ask.model or "", stamp, moment)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The dedicated endpoints that exist."""
        return tuple(self._endpoints.values())

    def all_endpoints(self, moment: float) -> tuple[Endpoint, ...]:
        """As `endpoints`, after making those that are known by name, where there is none yet."""
        if not self._endpoints:
            for model in self._names:
                self._endpoint(model, moment)
        return self.endpoints()

    def _ask_serverless(self, ask: Ask, model: str, stamp: Stamp, moment: float) -> Response:
        if model in STREAMS_ONLY and not ask.stream:
            message = 'This model only supports streaming. Set "stream": true.'
            return together_wire.error(400, message, id=stamp.id, code="streaming_required", param="stream")
        admission = self.serverless.admit(model, ask.input_tokens, moment)
        headers: Headers = (("x-request-id", stamp.id), *admission.headers)
        if admission.limited is not None:
            message = f"You have reached the dynamic rate limit of {model}. Wait x-ratelimit-reset seconds."
            return together_wire.error(429, message, id=stamp.id, kind=admission.limited, headers=headers)
        choices = answer(ask, self._chance.seed)
        work = self.serverless.start(model, ask.input_tokens, output_tokens(choices), moment)
        return together_wire.answered(ask, model, choices, work, stamp, headers)

    def _ask_dedicated(self, ask: Ask, model: str, stamp: Stamp, moment: float) -> Response:
        endpoint = self._endpoint(model, moment)
        refusal = endpoint.refusal(moment)
        if refusal is not None:
            message = (
                f"The dedicated endpoint for {model} is not running."
                if refusal == "dedicated_endpoint_not_running"
                else f"No traffic is routed to a deployment of the endpoint {model}."
            )
            return together_wire.error(400, message, id=stamp.id, code=refusal)
        choices = answer(ask, self._chance.seed)
        work = endpoint.begin(ask.input_tokens, output_tokens(choices), moment)
        return together_wire.answered(ask, model, choices, work, stamp, (("x-request-id", stamp.id),))

    def _endpoint(self, model: str, moment: float) -> Endpoint:
        endpoint = self._endpoints.get(model)
        if endpoint is None:
            chance = self._chance.of(f"endpoint {model}")
            endpoint = Endpoint(model, self._plan, self._initial, chance, moment)
            self._endpoints[model] = endpoint
        return endpoint


def has_bearer(request: Request) -> bool:
    """Whether the request carries a bearer token; any will do."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def _read(body: bytes) -> Ask | NotAcceptedError:
    try:
        return read(body)
    except NotAcceptedError as error:
        return error
