"""What can be deployed, and on what: supported models with their profiles, configs, instance types.

Shapes of the `together` package 3.1.1. Prices: H100 as the live list said on 2026-10-02, H200 and B200 as
Together's own table of 2026-06-08; several GPUs are linear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hybrid_infer.simulator.defaults import SERVERLESS_MODEL
from hybrid_infer.simulator.replica import MACHINES, Machine, is_large

PUBLIC = "proj_public"
"""The project that owns the public models and configs."""

LARGE_MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
MODELS = (SERVERLESS_MODEL, LARGE_MODEL)

_GPUS = (("H100", "nvidia-h100-80gb", 80, 549), ("H200", "nvidia-h200-141gb", 141, 789),
         ("B200", "nvidia-b200-180gb", 180, 1195))  # fmt: skip
_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model on a machine. `model` and `config` are resource names."""

    name: str
    model: str
    config: str
    gpu: str
    gpu_type: str
    gpus: int

    @property
    def hardware(self) -> str:
        """The name of the instance type."""
        return f"{self.gpus}x{self.gpu_type}"

    @property
    def machine(self) -> Machine | None:
        """The machine with the figures of this model on these GPUs, where there are some."""
        size = "70B" if is_large(self.name) else "8B"
        fits = [each for each in MACHINES if each.gpu == self.gpu and each.name.startswith(size)]
        return fits[0] if fits else None


def profiles() -> Iterator[Profile]:
    """All that can be deployed."""
    for number, name in enumerate(MODELS, 1):
        for gpu, gpu_type, _, _ in _GPUS:
            for gpus in (2, 4) if is_large(name) else (1, 2):
                yield Profile(
                    name=name,
                    model=f"projects/{PUBLIC}/models/ml_{number}",
                    config=f"projects/{PUBLIC}/configs/cr_{number}{gpu.lower()}x{gpus}",
                    gpu=gpu,
                    gpu_type=gpu_type,
                    gpus=gpus,
                )


def profile_of(model: str, config: str) -> Profile | None:
    """The profile of two resource names, as given at a deployment; the model's may have a revision."""
    bare = model.partition("/revisions/")[0]
    return next((each for each in profiles() if (each.model, each.config) == (bare, config)), None)


def supported_models(wall: str, search: str | None = None) -> list[dict[str, Any]]:
    """``GET /v2/supported-models``."""
    names = [name for name in MODELS if search is None or search.lower() in name.lower()]
    return [_supported(name, wall) for name in names]


def instance_types(taken: Callable[[str], bool]) -> list[dict[str, Any]]:
    """``GET /v2/public/inference-instance-types``; `taken`: whether there is no GPU of a kind left."""
    return [
        {
            "id": f"hw_{gpu.lower()}x{count}",
            "name": f"{count}x{gpu_type}",
            "description": f"{count} x NVIDIA {gpu}",
            "gpuType": gpu,
            "gpuCount": count,
            "gpuMemoryGib": memory,
            "priceCentsPerHour": cents * count,
            "regions": [_region(taken(gpu))],
        }
        for gpu, gpu_type, memory, cents in _GPUS
        for count in _COUNTS
    ]


def configs(reference: str | None = None) -> list[dict[str, Any]]:
    """``GET /v2/projects/{p}/configs``, of a model by its resource name or bare id, or all."""
    return [
        {
            "id": each.config.rpartition("/")[2],
            "projectId": PUBLIC,
            "referenceModel": each.model,
            "referenceModelId": each.model.rpartition("/")[2],
            "certifications": [],
            "selectors": [
                {"key": "accelerator_type", "value": each.gpu_type},
                {"key": "accelerator_count", "value": str(each.gpus)},
            ],
        }
        for each in profiles()
        if reference is None or reference in (each.model, each.model.rpartition("/")[2])
    ]


def _region(taken: bool) -> dict[str, Any]:
    headroom = {"relation": "RELATION_EQ", "value": 0} if taken else {"relation": "RELATION_GTE", "value": 8}
    return {"name": "us-central", "headroom": headroom}


def _supported(name: str, wall: str) -> dict[str, Any]:
    mine = [each for each in profiles() if each.name == name]
    return {
        "id": mine[0].model.rpartition("/")[2],
        "name": name,
        "displayName": name.rpartition("/")[2],
        "displayType": "chat",
        "baseModel": mine[0].model,
        "baseModelId": mine[0].model.rpartition("/")[2],
        "capabilities": ["CAPABILITY_CHAT"],
        "inputModalities": ["MODALITY_TEXT"],
        "outputModalities": ["MODALITY_TEXT"],
        "products": ["PRODUCT_DEDICATED"],
        "publisher": name.partition("/")[0],
        "status": "SUPPORTED_MODEL_STATUS_SUPPORTED",
        "createdAt": wall,
        "updatedAt": wall,
        "deploymentProfiles": [
            {
                "profileId": each.config.rpartition("/")[2],
                "certifiedConfigRevisionId": each.config.rpartition("/")[2],
                "certifiedModelRevisionId": "rv_1",
                "model": f"{each.model}/revisions/rv_1",
                "modelName": name,
                "config": each.config,
                "gpuType": each.gpu_type,
                "gpuCount": each.gpus,
                "parallelism": f"TP{each.gpus}",
                "quantization": "FP8",
                "performanceBenchmarks": {},
            }
            for each in mine
        ],
    }
