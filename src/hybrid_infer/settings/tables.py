"""All settings there are, and how they are nested."""

from __future__ import annotations

from dataclasses import replace

from hybrid_infer.calls.call import MODES
from hybrid_infer.settings.layout import Named, Table
from hybrid_infer.settings.nested import (
    BudgetSettings,
    HookSettings,
    HybridSettings,
    ModelSettings,
    ModelTarget,
    PriceSettings,
)
from hybrid_infer.settings.options import PREFIX, Option, read_options


def all_settings(top: dict[str, Option]) -> Table:
    """The layout of the settings. A new table needs its model, and its place here.

    Args:
        top: the settings that stand in no table.
    """
    hybrid, models, purposes, prices, budgets, hooks = (
        f"{PREFIX}{table}__" for table in ("HYBRID", "MODELS", "PURPOSES", "PRICES", "BUDGETS", "HOOKS")
    )
    target = Table(
        wanted="the provider's name of the model, or a table",
        options=read_options(
            ModelTarget, under="models.<name>.<mode>.", variables_under=f"{models}<NAME>__<MODE>__"
        ),
        short="model",
    )
    model = Table(
        wanted="a table of modes",
        options=read_options(ModelSettings, under="models.<name>.", variables_under=f"{models}<NAME>__"),
        tables=dict.fromkeys(MODES, target),
        within="targets",
    )
    purpose = replace(top.pop("purposes"), name="purposes.<name>", variables=(f"{purposes}<NAME>",))
    return Table(
        wanted="a table of settings",
        options=top,
        tables={
            "hybrid": Table(
                wanted="a table with base and overflow",
                options=read_options(HybridSettings, under="hybrid.", variables_under=hybrid),
            ),
            "hooks": Table(
                wanted="a table of hooks, each with its functions",
                options=read_options(HookSettings, under="hooks.", variables_under=hooks),
            ),
            "purposes": Named(
                wanted="a table of purposes, each with its mode",
                noun="purpose",
                entry=purpose,
                variables=purposes,
                hint=f"a purpose has {purposes}<NAME>",
            ),
            "prices": Named(
                wanted="a table of models, each with its prices",
                noun="priced model",
                entry=Table(
                    wanted="a table of prices",
                    options=read_options(
                        PriceSettings, under="prices.<name>.", variables_under=f"{prices}<NAME>__"
                    ),
                ),
                variables=prices,
                hint=f"a model's prices have {prices}<NAME>__INPUT, …__OUTPUT, …__HOUR and so on",
            ),
            "budgets": Named(
                wanted="a table of budgets",
                noun="budget",
                entry=Table(
                    wanted='a table such as { usd = 20, per = "day" }',
                    options=read_options(
                        BudgetSettings, under="budgets.<name>.", variables_under=f"{budgets}<NAME>__"
                    ),
                ),
                variables=budgets,
                hint=f"a budget has {budgets}<NAME>__USD or …__TOKENS, …__PER and …__PURPOSE",
            ),
            "models": Named(
                wanted="a table of models",
                noun="model",
                entry=model,
                variables=models,
                hint=f"a model has {models}<NAME>__MODE, …__<MODE> and such as …__<MODE>__URL",
            ),
        },
    )
