"""Writes docs/settings.md from the options that the package has.

python docs/generate_settings.py           write the page
python docs/generate_settings.py --check   fail where the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from hybrid_infer.settings import Option, Settings

PAGE = Path(__file__).with_name("settings.md")

INTRODUCTION = """\
# Settings

<!-- Written by docs/generate_settings.py; change that file, or the descriptions in the package. -->

A setting is taken from the first of these that has it:

1. an argument: `Client(mode="modal", timeout=60)`; `None` counts as not given;
2. the environment: `HYBRID_INFER_…`, then the provider's own name where it has one;
3. the TOML file named by `config=` or `HYBRID_INFER_CONFIG`;
4. the default.

No `.env` is read, and no file is picked up unasked: a file can set addresses that receive keys. Everything
wrong is told at once, in one `ConfigurationError`; a misspelt argument, variable or key is an error that
names the nearest right one. `hybrid-infer explain` shows every value and where it came from.

```toml
mode = "together-serverless"            # HYBRID_INFER_MODE=together-dedicated moves everything

[models.assistant]                      # the name the application uses
together-serverless = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
together-dedicated  = { model = "acme/assistant", gpu = "H100", gpus = 2 }
modal               = { url = "https://acme--llm.us-east.modal.direct/v1", model = "llm", gpu = "H100" }

[hybrid]                                # what mode = "hybrid" means
base = "together-dedicated"
overflow = "together-serverless"

[purposes]                              # create(…, purpose="nightly")
nightly = "modal"
```

## Values

- **Yes or no** is `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off`, in any case.
- **Addresses** start with `http://` or `https://`. `http://host`, `http://host/`, `http://host/v1` and
  `http://host/v1/` mean the same; any other path stays. A user name or password in an address is refused.
- **Keys** are text or, as an argument, a function without arguments that returns it, asked at every use. They
  never show in messages, logs or `repr`.
- **Lists** are lists or text with commas: `fallback = ["modal", "assistant"]`, or
  `HYBRID_INFER_FALLBACK="modal, assistant"`; an empty text is an empty list.
- An **empty variable** counts as not set where it is for a key or an address; elsewhere it is an error.
- `timeout` as an argument may be a `Timeouts`, whose parts are settings of their own:
  `Timeouts(total=60, first_token=2)` is `timeout=60, first_token_timeout=2`.

## Keys and addresses belong to a mode

`base_url` and `api_key` given as **arguments** belong to the mode the client is made for:

| mode | `base_url` becomes | `api_key` becomes |
|---|---|---|
| `together-serverless`, `together-dedicated` | `together_base_url` | `together_api_key` |
| `modal` | `modal_url` | `modal_api_key` |
| `openai-compatible` | `base_url` | `api_key` |
| `hybrid` | as in its two modes, if they agree; else an error | likewise |

From the **environment** and the **file** they are those of `openai-compatible` and of no other mode.
Otherwise one change of `HYBRID_INFER_MODE` would send the key of one provider to the address of another.
"""

HYBRID = """\
## Hybrid

In mode `hybrid` calls go to `base` while there is room, and overflow to another mode when there is none.
Both must be set where `hybrid` is chosen: by the client, a model or a purpose. Calls overflow when base is
predicted to keep them waiting for `max_wait` seconds or longer, and go back when the prediction has stayed
below `return_below` times `max_wait` for `dwell` seconds.
"""

HOOKS = """\
## Hooks

Functions of yours that are told what happens to machines and to the way of calls, each as
`package.module:function`, imported when a client is made. See [Hooks](hooks.md).
"""

PURPOSES = """\
## Purposes

A call that says what it is for (`purpose="nightly"`) goes where `[purposes]` sends that purpose; so where
work of one kind runs is a setting too. `HYBRID_INFER_PURPOSES__NIGHTLY=modal` sets it; in variables the names
are written as those of models are (see below). Of a call, its purpose, its model and the client, the first
that names a mode wins.
"""

PRICES = """\
## Prices

What you pay, in USD, where that is not what the tables say: `[prices."acme/assistant"]`, under the provider's
name of the model, or under the name your application uses for it. Under the provider's name a price also says
how it is paid; under yours it counts in the modes that are paid in that way. See [Prices](prices.md).
"""

BUDGETS = """\
## Budgets

What calls may spend: `[budgets.<name>]`, as many as you like; a call needs room in all that count for it. See
[Cost](cost.md#budgets).
"""

MODELS = """\
## Models

The application asks for a model by a name of its own, and `[models.<name>]` says what that is in each mode.
A mode is given the provider's name of the model as text, or a table with the settings below. A model that is
not listed is passed on as the provider's own name.

In variables names are upper case, and everything but letters and digits is `_`: `[models."llama-3.3"]` is
reached by `HYBRID_INFER_MODELS__LLAMA_3_3__…`, and its mode `together-dedicated` by `…__TOGETHER_DEDICATED`.
A name that no file and no argument has is taken in lower case.
`HYBRID_INFER_MODELS__<NAME>__<MODE>=acme/assistant` is short for `…__<MODE>__MODEL=acme/assistant`.

Limits (`max_in_flight` to `max_wait`) that are not set here are those of the client, for each target by
itself.
"""


TABLES = {
    "hybrid": HYBRID,
    "hooks": HOOKS,
    "purposes": PURPOSES,
    "prices": PRICES,
    "budgets": BUDGETS,
    "models": MODELS,
}
"""The text above each table of the file."""


def page() -> str:
    options = Settings.options()
    parts = [
        INTRODUCTION,
        "## All settings\n",
        table([option for option in options if "." not in option.name]),
    ]
    for name, text in TABLES.items():
        parts += [text, table([option for option in options if option.name.startswith(f"{name}.")])]
    return "\n".join(parts)


def table(options: list[Option]) -> str:
    rows = [
        "| setting | variable | default | allowed | what for |",
        "|---|---|---|---|---|",
        *map(row, options),
    ]
    return "\n".join(rows) + "\n"


def row(option: Option) -> str:
    variables = "<br>".join(f"`{variable}`" for variable in option.variables)
    cells = (f"`{option.name}`", variables, default(option.default), allowed(option), option.text)
    return f"| {' | '.join(cells)} |"


def default(value: object) -> str:
    if value is None or value == ():
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def allowed(option: Option) -> str:
    return ", ".join(f"`{choice}`" for choice in option.choices) or option.allowed


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not arguments:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE} is out of date: run `python {Path(__file__)}`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
