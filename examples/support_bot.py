"""Support bot: answers from a small knowledge base, in one conversation.

For every question it embeds the knowledge base (from the second time on that comes out of the cache, for
nothing) and the question, takes the articles that are nearest, lets a reranker put them in order where there
is one, and streams an answer that is made from them.

    HYBRID_INFER_SIMULATE=1 python support_bot.py                             # no key: simulated providers
    TOGETHER_API_KEY=… HYBRID_INFER_MODEL=Qwen/Qwen3.5-9B python support_bot.py "Where is my parcel?"

Together serverless offers no reranking: there the bot says so and goes on with the order by similarity.
`models.toml` beside this file shows how each of the three models is named in other modes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from hybrid_infer import Client, Hybrid, NotFoundError, UnsupportedOperationError

EMBEDDER = "intfloat/multilingual-e5-large-instruct"
RERANKER = "mixedbread-ai/mxbai-rerank-large-v2"
NEAREST = 4
USED = 2

ARTICLES = (
    "Returns: send anything back within 30 days of delivery. Print the label from your account page.",
    "Refunds: money goes back to the card you paid with, within five working days of the return's arrival.",
    "Delivery: parcels take two to four working days. The tracking link is in the mail we send at dispatch.",
    "Lost parcels: if tracking has not moved for five days, write to us and we send the order again.",
    "Password: choose 'forgotten password' on the login page. The link in the mail is valid for one hour.",
    "Warranty: lamps have a warranty of three years, batteries one year. Keep the receipt.",
    "Invoices: every invoice is under 'orders' on your account page, as a PDF.",
)
QUESTIONS = (
    "How many days do I have to send a lamp back?",
    "And when is the money back on my card?",
    "My parcel is lost, the tracking link has not moved. What now?",
)
ROLE = "You answer customers of a lamp shop, in two sentences at most, from these articles alone:\n\n"


@dataclass
class Bot:
    """One conversation."""

    client: Client
    session: str
    turns: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    calls: list[tuple[str, Hybrid]] = field(default_factory=list[tuple[str, Hybrid]])
    reranks: bool = True

    def answer(self, question: str) -> str:
        """Print the answer as it comes, and remember both."""
        articles = self.best(question, self.nearest(question))
        self.turns.append({"role": "user", "content": question})
        system = {"role": "system", "content": ROLE + "\n".join(articles)}
        said: list[str] = []
        # The session keeps a conversation on the machine that knows its beginning already.
        with self.client.chat.completions.create(
            messages=[system, *self.turns], stream=True, session=self.session, purpose="support"
        ) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    said.append(choice.delta.content or "")
                    print(said[-1], end="", flush=True)
        print()
        self.calls.append(("answer", stream.hybrid))
        self.turns.append({"role": "assistant", "content": "".join(said)})
        return "".join(said)

    def nearest(self, question: str) -> list[str]:
        """The articles whose vectors point most nearly where the question's does."""
        known = self.client.embeddings.create(input=ARTICLES, model=EMBEDDER, purpose="support")
        asked = self.client.embeddings.create(input=[question], model=EMBEDDER, purpose="support")
        self.calls += [("embed articles", known.hybrid), ("embed question", asked.hybrid)]
        wanted, *rows = (row.embedding for row in (*asked.data, *known.data))
        near = sorted(range(len(rows)), key=lambda index: similarity(rows[index], wanted), reverse=True)
        return [ARTICLES[index] for index in near[:NEAREST]]

    def best(self, question: str, articles: list[str]) -> list[str]:
        """The few to answer from: those a reranker puts first, or else simply the nearest."""
        if self.reranks:
            try:
                ranking = self.client.rerank.create(
                    query=question, documents=articles, model=RERANKER, top_n=USED, purpose="support"
                )
            except (UnsupportedOperationError, NotFoundError) as error:
                self.reranks = False
                print(f"(no reranking, the nearest articles are used: {error})")
            else:
                self.calls.append(("rerank", ranking.hybrid))
                return [articles[result.index] for result in ranking.results]
        return articles[:USED]


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors."""
    dot = sum(x * y for x, y in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


def bill(calls: Sequence[tuple[str, Hybrid]]) -> str:
    """A line for each kind of call: how many, how many of them from the cache, and the cost."""
    lines: list[str] = []
    for kind in dict.fromkeys(kind for kind, _ in calls):
        mine = [hybrid for name, hybrid in calls if name == kind]
        kept = sum(hybrid.cache == "hit" for hybrid in mine)
        unknown = next((one.cost.reason for one in mine if one.cost.amount is None), None)
        known = sum(one.cost.amount for one in mine if one.cost.amount is not None)
        cost = f"${known:.8f}" if unknown is None else f"cost unknown: {unknown}"
        lines.append(f"{kind}: {len(mine)} calls, {kept} from the cache, {cost}")
    return "\n".join(lines)


def main() -> None:
    # "sqlite" in place of "memory" keeps the vectors for the next start, too.
    with Client(cache="memory") as client:
        bot = Bot(client, session="customer-4711")
        for question in sys.argv[1:] or QUESTIONS:
            print(f"\n> {question}")
            bot.answer(question)
        print(f"\n{bill(bot.calls)}")


if __name__ == "__main__":
    main()
