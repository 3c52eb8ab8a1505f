"""hybrid_infer: one client for inference on Together serverless, Together dedicated endpoints and Modal.

The names below load on first use: `import hybrid_infer` itself does next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybrid_infer.aclient import AsyncClient as AsyncClient
    from hybrid_infer.calls.audio import Speech as Speech
    from hybrid_infer.calls.audio import SpeechChunk as SpeechChunk
    from hybrid_infer.calls.audio import Transcription as Transcription
    from hybrid_infer.calls.audio import Translation as Translation
    from hybrid_infer.calls.cached import CachePolicy as CachePolicy
    from hybrid_infer.calls.call import CHOICES as CHOICES
    from hybrid_infer.calls.call import MODES as MODES
    from hybrid_infer.calls.call import Mode as Mode
    from hybrid_infer.calls.call import ModeChoice as ModeChoice
    from hybrid_infer.calls.chat import ChatCompletion as ChatCompletion
    from hybrid_infer.calls.chat import ChatCompletionChunk as ChatCompletionChunk
    from hybrid_infer.calls.chat import ChatStreamReset as ChatStreamReset
    from hybrid_infer.calls.completions import Completion as Completion
    from hybrid_infer.calls.completions import CompletionChunk as CompletionChunk
    from hybrid_infer.calls.embeddings import EmbeddingList as EmbeddingList
    from hybrid_infer.calls.functions import FunctionReply as FunctionReply
    from hybrid_infer.calls.hybrid import Hybrid as Hybrid
    from hybrid_infer.calls.hybrid import Tried as Tried
    from hybrid_infer.calls.images import Images as Images
    from hybrid_infer.calls.money import Cost as Cost
    from hybrid_infer.calls.money import Usage as Usage
    from hybrid_infer.calls.rerank import Reranking as Reranking
    from hybrid_infer.calls.stored import Batch as Batch
    from hybrid_infer.calls.stored import StoredFile as StoredFile
    from hybrid_infer.calls.stored import Video as Video
    from hybrid_infer.calls.timeouts import Timeouts as Timeouts
    from hybrid_infer.calls.vision import image as image
    from hybrid_infer.client import Client as Client
    from hybrid_infer.endpoints.errors import CapacityError as CapacityError
    from hybrid_infer.endpoints.errors import EndpointConflictError as EndpointConflictError
    from hybrid_infer.endpoints.errors import EndpointError as EndpointError
    from hybrid_infer.endpoints.errors import EndpointFailedError as EndpointFailedError
    from hybrid_infer.endpoints.errors import EndpointForbiddenError as EndpointForbiddenError
    from hybrid_infer.endpoints.errors import EndpointNotFoundError as EndpointNotFoundError
    from hybrid_infer.endpoints.errors import EndpointTimeoutError as EndpointTimeoutError
    from hybrid_infer.endpoints.errors import EndpointUnreachableError as EndpointUnreachableError
    from hybrid_infer.endpoints.errors import IdleBudgetError as IdleBudgetError
    from hybrid_infer.endpoints.errors import LeaseStoreError as LeaseStoreError
    from hybrid_infer.endpoints.errors import QuotaError as QuotaError
    from hybrid_infer.endpoints.state import EndpointAction as EndpointAction
    from hybrid_infer.endpoints.state import EndpointChange as EndpointChange
    from hybrid_infer.endpoints.state import EndpointState as EndpointState
    from hybrid_infer.errors import AnswerFormatError as AnswerFormatError
    from hybrid_infer.errors import APIConnectionError as APIConnectionError
    from hybrid_infer.errors import APIError as APIError
    from hybrid_infer.errors import APIResponseError as APIResponseError
    from hybrid_infer.errors import APIStatusError as APIStatusError
    from hybrid_infer.errors import APITimeoutError as APITimeoutError
    from hybrid_infer.errors import AuthenticationError as AuthenticationError
    from hybrid_infer.errors import BadRequestError as BadRequestError
    from hybrid_infer.errors import BudgetExceededError as BudgetExceededError
    from hybrid_infer.errors import CircuitOpenError as CircuitOpenError
    from hybrid_infer.errors import ClientClosedError as ClientClosedError
    from hybrid_infer.errors import ColdError as ColdError
    from hybrid_infer.errors import ConfigurationError as ConfigurationError
    from hybrid_infer.errors import ConflictError as ConflictError
    from hybrid_infer.errors import DeadlineExceededError as DeadlineExceededError
    from hybrid_infer.errors import EventLoopError as EventLoopError
    from hybrid_infer.errors import ForeignAwaitError as ForeignAwaitError
    from hybrid_infer.errors import FunctionCrashedError as FunctionCrashedError
    from hybrid_infer.errors import FunctionError as FunctionError
    from hybrid_infer.errors import FunctionTimeoutError as FunctionTimeoutError
    from hybrid_infer.errors import HybridInferError as HybridInferError
    from hybrid_infer.errors import InternalServerError as InternalServerError
    from hybrid_infer.errors import InvalidCallError as InvalidCallError
    from hybrid_infer.errors import NotAllowedError as NotAllowedError
    from hybrid_infer.errors import NotFoundError as NotFoundError
    from hybrid_infer.errors import OverloadedError as OverloadedError
    from hybrid_infer.errors import PaymentRequiredError as PaymentRequiredError
    from hybrid_infer.errors import PermissionDeniedError as PermissionDeniedError
    from hybrid_infer.errors import RateLimitError as RateLimitError
    from hybrid_infer.errors import RedirectError as RedirectError
    from hybrid_infer.errors import RefusedError as RefusedError
    from hybrid_infer.errors import RemoteFunctionError as RemoteFunctionError
    from hybrid_infer.errors import SaturatedError as SaturatedError
    from hybrid_infer.errors import StreamError as StreamError
    from hybrid_infer.errors import StreamingRequiredError as StreamingRequiredError
    from hybrid_infer.errors import UnprocessableEntityError as UnprocessableEntityError
    from hybrid_infer.errors import UnsupportedOperationError as UnsupportedOperationError
    from hybrid_infer.errors import UploadError as UploadError
    from hybrid_infer.errors import UsageError as UsageError
    from hybrid_infer.hooks import HookEvent as HookEvent
    from hybrid_infer.migrating.errors import MigrationBusyError as MigrationBusyError
    from hybrid_infer.migrating.errors import MigrationError as MigrationError
    from hybrid_infer.migrating.errors import MigrationRefusedError as MigrationRefusedError
    from hybrid_infer.migrating.errors import RolledBackError as RolledBackError
    from hybrid_infer.settings import Settings as Settings
    from hybrid_infer.streams import AsyncStream as AsyncStream
    from hybrid_infer.streams import Stream as Stream
    from hybrid_infer.version import VERSION as __version__
    from hybrid_infer.warming.status import MachineStatus as MachineStatus

_HOMES = {
    "aclient": ("AsyncClient",),
    "calls.audio": ("Speech", "SpeechChunk", "Transcription", "Translation"),
    "calls.cached": ("CachePolicy",),
    "calls.call": ("CHOICES", "MODES", "Mode", "ModeChoice"),
    "calls.chat": ("ChatCompletion", "ChatCompletionChunk", "ChatStreamReset"),
    "calls.completions": ("Completion", "CompletionChunk"),
    "calls.embeddings": ("EmbeddingList",),
    "calls.functions": ("FunctionReply",),
    "calls.hybrid": ("Hybrid", "Tried"),
    "calls.images": ("Images",),
    "calls.money": ("Cost", "Usage"),
    "calls.rerank": ("Reranking",),
    "calls.stored": ("Batch", "StoredFile", "Video"),
    "calls.timeouts": ("Timeouts",),
    "calls.vision": ("image",),
    "client": ("Client",),
    "endpoints.errors": (
        "CapacityError",
        "EndpointConflictError",
        "EndpointError",
        "EndpointFailedError",
        "EndpointForbiddenError",
        "EndpointNotFoundError",
        "EndpointTimeoutError",
        "EndpointUnreachableError",
        "IdleBudgetError",
        "LeaseStoreError",
        "QuotaError",
    ),
    "endpoints.state": ("EndpointAction", "EndpointChange", "EndpointState"),
    "errors": (
        "APIConnectionError",
        "APIError",
        "APIResponseError",
        "APIStatusError",
        "APITimeoutError",
        "AnswerFormatError",
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
        "CircuitOpenError",
        "ClientClosedError",
        "ColdError",
        "ConfigurationError",
        "ConflictError",
        "DeadlineExceededError",
        "EventLoopError",
        "ForeignAwaitError",
        "FunctionCrashedError",
        "FunctionError",
        "FunctionTimeoutError",
        "HybridInferError",
        "InternalServerError",
        "InvalidCallError",
        "NotAllowedError",
        "NotFoundError",
        "OverloadedError",
        "PaymentRequiredError",
        "PermissionDeniedError",
        "RateLimitError",
        "RedirectError",
        "RefusedError",
        "RemoteFunctionError",
        "SaturatedError",
        "StreamError",
        "StreamingRequiredError",
        "UnprocessableEntityError",
        "UnsupportedOperationError",
        "UploadError",
        "UsageError",
    ),
    "hooks": ("HookEvent",),
    "migrating.errors": ("MigrationBusyError", "MigrationError", "MigrationRefusedError", "RolledBackError"),
    "settings": ("Settings",),
    "streams": ("AsyncStream", "Stream"),
    "version": ("__version__",),
    "warming.status": ("MachineStatus",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CHOICES",
    "MODES",
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AnswerFormatError",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BudgetExceededError",
    "CachePolicy",
    "CapacityError",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatStreamReset",
    "CircuitOpenError",
    "Client",
    "ClientClosedError",
    "ColdError",
    "Completion",
    "CompletionChunk",
    "ConfigurationError",
    "ConflictError",
    "Cost",
    "DeadlineExceededError",
    "EmbeddingList",
    "EndpointAction",
    "EndpointChange",
    "EndpointConflictError",
    "EndpointError",
    "EndpointFailedError",
    "EndpointForbiddenError",
    "EndpointNotFoundError",
    "EndpointState",
    "EndpointTimeoutError",
    "EndpointUnreachableError",
    "EventLoopError",
    "ForeignAwaitError",
    "FunctionCrashedError",
    "FunctionError",
    "FunctionReply",
    "FunctionTimeoutError",
    "HookEvent",
    "Hybrid",
    "HybridInferError",
    "IdleBudgetError",
    "Images",
    "InternalServerError",
    "InvalidCallError",
    "LeaseStoreError",
    "MachineStatus",
    "MigrationBusyError",
    "MigrationError",
    "MigrationRefusedError",
    "Mode",
    "ModeChoice",
    "NotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "QuotaError",
    "RateLimitError",
    "RedirectError",
    "RefusedError",
    "RemoteFunctionError",
    "Reranking",
    "RolledBackError",
    "SaturatedError",
    "Settings",
    "Speech",
    "SpeechChunk",
    "StoredFile",
    "Stream",
    "StreamError",
    "StreamingRequiredError",
    "Timeouts",
    "Transcription",
    "Translation",
    "Tried",
    "UnprocessableEntityError",
    "UnsupportedOperationError",
    "UploadError",
    "Usage",
    "UsageError",
    "Video",
    "__version__",
    "image",
]


if not TYPE_CHECKING:  # so that type checkers see the names above and no others

    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), "VERSION" if name == "__version__" else name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
