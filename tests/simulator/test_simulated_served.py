"""A model that is served with a wrong template or less context answers worse, in the mode where it is so."""

from __future__ import annotations

import json

from hybrid_infer.simulator.served import ServedModel
from hybrid_infer.simulator.world import World
from simulator.simulated import DEDICATED, SERVERLESS, finish, post


def test_a_wrong_template_makes_it_echo_and_ramble_until_it_is_stopped() -> None:
    world = World(served={"together-dedicated": ServedModel(template="wrong")})
    request = post(model=DEDICATED, max_tokens=120)
    got = finish(world.receive("together", request, 0.0, mode="together-dedicated"), 0.0)
    choice = got.json["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].count("user\nWhy is the sky blue?\nassistant") >= 5


def test_less_context_refuses_what_does_not_fit_in_the_words_of_the_mode() -> None:
    world = World(served={"together-dedicated": ServedModel(context=100)})
    request = post(model=DEDICATED, text="word " * 100)
    got = finish(world.receive("together", request, 0.0, mode="together-dedicated"), 0.0)
    assert got.status == 400
    assert json.loads(got.body)["error"]["code"] == "context_length_exceeded"
    assert "100 tokens" in got.body.decode()


def test_other_modes_are_as_they_were() -> None:
    planted = World(served={"together-dedicated": ServedModel(template="wrong", context=100)})
    request = post(model=SERVERLESS, text="word " * 100)
    answers = [
        finish(world.receive("together", request, 0.0, mode="together-serverless"), 0.0).json["choices"]
        for world in (planted, World())
    ]
    assert answers[0] == answers[1]
