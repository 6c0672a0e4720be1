from collections.abc import Sequence
from typing import Any, TypedDict

from ._octet import CancelToken


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    """"system", "user" or "assistant" """
    content: str


class Options(TypedDict, total=False):
    """How text is generated. What is left out is as the model's checkpoint recommends, or where
    that is silent: top-k 5 at temperature 0.7, 512 tokens."""

    max_tokens: int
    stop: Sequence[str]
    """Texts that end the generation and are not given out."""
    temperature: float
    """0: greedy."""
    top_k: int
    """Keep the k likeliest tokens; 0: all."""
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    """The same seed gives the same text."""
    stop_at_end_tokens: bool
    lookup: bool
    """Guess repeated text; changes the speed only."""
    logprobs: int
    """Tell each token's log-probability, and so many of the likeliest tokens; -1: nothing."""
    separate_reasoning: bool
    """Give what is between <think> and </think> apart from the answer."""
    max_reasoning_tokens: int
    """Then the model is made to answer; -1: no cap."""
    json_schema: dict[str, Any] | str
    """The answer is JSON that fulfils this schema (octet/constraint.h lists the keywords)."""
    regex: str
    """The answer is matched by this regular expression as a whole."""
    cancel: CancelToken
