"""Plan: from the name an application uses to the targets that may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hybrid_infer.calls.call import MODES, Call, Mode, ModeChoice, Replying, Service, Target
from hybrid_infer.calls.operations import OPERATIONS, offered
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.calls.shares import Shares, Turnout
from hybrid_infer.errors import ConfigurationError, InvalidCallError, UnsupportedOperationError


class Named(Protocol):
    """A model of the configuration, as far as planning looks at it."""

    @property
    def mode(self) -> ModeChoice | None: ...
    @property
    def never_leave(self) -> bool | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPolicy:
    """What the settings say of where calls may go.

    Attributes:
        mode: of the client, for calls and models that name none.
        model: the logical model of calls that name none.
        models: the configured models by name.
        hybrid: base and overflow of mode ``hybrid``; None where that is not configured.
        purposes: modes by purpose.
        fallback: modes or models that may answer where the first candidate cannot.
        never_leave: nothing but the first candidate may answer.
    """

    mode: ModeChoice
    model: str | None
    models: Mapping[str, Named]
    hybrid: tuple[Mode, Mode] | None = None
    purposes: Mapping[str, ModeChoice]
    fallback: Sequence[str] = ()
    never_leave: bool = False


MakeTarget = Callable[[Mode, str | None, Call], Target]
"""The target for a mode and a logical model, as far as a call's operation asks for one; made at first use."""


_FOLLOWS = "it is the client's mode"


class Plan:
    """Chooses where a call may go, and attaches the candidates in order of preference.

    Args:
        turnout: holds the shares while the client is moved to another mode step by step.
    """

    def __init__(self, policy: PlanPolicy, target: MakeTarget, turnout: Turnout | None = None) -> None:
        self._policy = policy
        self._target = target
        self._turnout = turnout or Turnout()
        self._usual: dict[tuple[str, str | None], tuple[tuple[Target, ...], bool, list[str]]] = {}

    def __call__(self, call: Call, inner: Service) -> Replying:
        shares = self._turnout.shares
        if shares is not None:
            return self._shared(call, inner, shares)
        # The call is nobody else's yet, so it is completed, not copied.
        if _says_where(call):
            call.candidates, call.overflows = self.candidates(call)
        else:
            call.candidates, call.overflows, why = self._as_usual(call)
            call.tally.why.extend(why)
        return inner(call)

    def _as_usual(self, call: Call) -> tuple[tuple[Target, ...], bool, list[str]]:
        """Where calls go that say nothing of it, looked up once for each operation and model."""
        key = (call.operation, call.model)
        found = self._usual.get(key)
        if found is None:
            asked = Call(operation=call.operation, model=call.model, body=call.body)
            found = self._usual[key] = (*self.candidates(asked), asked.tally.why)
        return found

    async def _shared(self, call: Call, inner: Service, shares: Shares) -> Reply:
        """A call while a share of them goes to another mode. What the old mode could answer, it still may,
        should the new one fail."""
        candidates, overflows = self.candidates(call)
        tally, follows = call.tally, self._follows(call)
        moved: tuple[Target, ...] = ()
        if follows and shares.moves(call):
            moved, over = self._there(call, shares.to)
            if moved:
                candidates, overflows = tuple(dict.fromkeys((*moved, *candidates))), over
                tally.why.append(f"{shares.to}: {shares.share:.0%} of the calls go there by now")
        shares.begin(tally, candidates, moved=bool(moved))
        try:
            reply = await inner(call.changed(candidates=candidates, overflows=overflows))
        except BaseException as error:
            shares.end(tally, moved, follows=follows, error=error)
            raise
        shares.answered(tally)

        def ended(ending: Ending) -> None:
            shares.end(
                tally,
                moved,
                follows=follows,
                error=ending.error,
                first_token=reply.facts.first_token,
                given_up=ending.abandoned,
            )

        reply.on_end(ended)
        return reply

    def _follows(self, call: Call) -> bool:
        """Whether a call goes where the client's mode is, and nothing forbids that it be another."""
        policy, spec = self._policy, OPERATIONS[call.operation]
        if spec.asks != "model" or call.operation.startswith("functions."):
            return False
        name = call.model if call.model is not None else policy.model
        entry = policy.models.get(name) if name is not None else None
        return self._choice(call, name, entry)[1] is _FOLLOWS and not self._stays(call, entry)

    def _there(self, call: Call, to: ModeChoice) -> tuple[tuple[Target, ...], bool]:
        """The targets of a call in the mode that it is moved to, and whether the second is the overflow of
        the first; none where that mode has no place for it."""
        policy = self._policy
        name = call.model if call.model is not None else policy.model
        places: tuple[Mode, ...] = (policy.hybrid or ()) if to == "hybrid" else (to,)
        able: list[Mode] = [mode for mode in places if offered(call.operation, mode)]
        try:
            targets = tuple(self._target(mode, name, call) for mode in able)
        except ConfigurationError:
            return (), False
        return targets, len(targets) == 2

    def candidates(self, call: Call) -> tuple[tuple[Target, ...], bool]:
        """The targets that may answer, and whether the second is the overflow of the first.

        Raises:
            UnsupportedOperationError: none of the modes in question offers the operation.
        """
        places, overflows = self._places(call)
        able = [place for place in places if offered(call.operation, place[0])]
        if not able:
            raise _unsupported(call, dict.fromkeys(mode for mode, _ in places))
        if len(able) < len(places):
            call.tally.why.append(
                f"{call.operation}: not in {', '.join(place[0] for place in places if place not in able)}"
            )
        targets = dict.fromkeys(self._target(mode, name, call) for mode, name in able)
        return tuple(targets), overflows and able[:2] == places[:2]

    def _places(self, call: Call) -> tuple[list[tuple[Mode, str | None]], bool]:
        """Modes with the name of the model there, in the order of preference; whether one overflows."""
        policy = self._policy
        name = call.model if call.model is not None else policy.model
        entry = policy.models.get(name) if name is not None else None
        choice, why = self._choice(call, name, entry)
        overflows = choice == "hybrid"
        places: list[tuple[Mode, str | None]]
        if choice == "hybrid":
            if policy.hybrid is None:
                raise InvalidCallError(
                    'mode "hybrid" needs a base and an overflow: set HYBRID_INFER_HYBRID__BASE and '
                    "HYBRID_INFER_HYBRID__OVERFLOW to a mode each"
                )
            places = [(mode, name) for mode in policy.hybrid]
        else:
            places = [(choice, name)]
        call.tally.why.append(f"{choice}: {why}")
        if self._stays(call, entry):
            if len(places) > 1 or self._fallback(call):
                call.tally.why.append(f"{places[0][0]} only: never_leave")
            return places[:1], False
        return [*places, *(self._other(other, name) for other in self._fallback(call))], overflows

    def _choice(self, call: Call, name: str | None, entry: Named | None) -> tuple[ModeChoice, str]:
        policy = self._policy
        if call.mode is not None:
            return call.mode, "this call asks for it"
        if call.purpose is not None and call.purpose in policy.purposes:
            return policy.purposes[call.purpose], f'it is the mode of purpose "{call.purpose}"'
        if entry is not None and entry.mode is not None:
            return entry.mode, f'it is the mode of model "{name}"'
        return policy.mode, _FOLLOWS

    def _stays(self, call: Call, entry: Named | None) -> bool:
        """Whether nothing but the first candidate may answer."""
        if call.never_leave is not None:
            return call.never_leave
        return self._policy.never_leave if entry is None or entry.never_leave is None else entry.never_leave

    def _fallback(self, call: Call) -> Sequence[str]:
        return self._policy.fallback if call.fallback is None else call.fallback

    def _other(self, other: str, name: str | None) -> tuple[Mode, str | None]:
        """A fallback: the same model in another mode, or another model in its own mode."""
        if other in MODES:
            return other, name
        entry = self._policy.models.get(other)
        if entry is None:
            raise InvalidCallError(
                f'fallback "{other}" is neither a mode ({", ".join(MODES)}) nor a configured model'
                + (f" ({', '.join(self._policy.models)})" if self._policy.models else "")
            )
        choice = entry.mode or self._policy.mode
        if choice == "hybrid":
            choice = self._policy.hybrid[0] if self._policy.hybrid else "together-serverless"
        return choice, other


def _says_where(call: Call) -> bool:
    """Whether anything but its operation and its model decides where the call goes."""
    return (
        call.mode is not None
        or call.purpose is not None
        or call.fallback is not None
        or call.never_leave is not None
        or "function" in call.body
    )


def _unsupported(call: Call, modes: Iterable[Mode]) -> UnsupportedOperationError:
    spec = OPERATIONS[call.operation]
    return UnsupportedOperationError(
        f"{spec.called} is not offered in mode {' or '.join(modes)}; it is in {', '.join(spec.modes)} "
        f'(mode="{spec.modes[0]}" for one call, or client.with_options(mode="{spec.modes[0]}"))'
    )
