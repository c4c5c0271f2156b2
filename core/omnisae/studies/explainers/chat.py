"""Phrases by a language model behind an OpenAI-compatible endpoint."""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib import error, request

from omnisae.errors import ConfigError
from omnisae.studies.explainer import Case, Explainer
from omnisae.studies.explainers.prompt import Kept, question, tidy

if TYPE_CHECKING:
    from omnisae.studies.explainers.configs import ChatConfig

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers of a server after which it is worth while to ask again."""
WAIT = 1.0
"""Seconds before the first retry; twice as long before each further one."""


class Chat(Explainer):
    """Asks `<url>/chat/completions` once a latent. What was asked before is answered from disk and costs nothing."""

    def __init__(self, config: "ChatConfig", sleep: Callable[[float], None] = time.sleep) -> None:
        if not config.url.startswith(("http://", "https://")):
            raise ConfigError(f"explainer.url is {config.url!r}, and must begin with http:// or https://", "name one")
        self.config, self._sleep, self._left = config, sleep, config.requests
        self._kept = Kept(config.cache, f"{config.url} {config.model}")

    def phrases(self, cases: Sequence[Case], others: Sequence[str]) -> list[str]:
        return [tidy(self._answer(question(case.texts, self.config.texts))) if case.texts else "" for case in cases]

    def _answer(self, asked: str) -> str:
        kept = self._kept.get(asked)
        if kept is not None:
            return kept
        answer = self._ask(asked)
        self._kept.put(asked, answer)
        return answer

    def _ask(self, asked: str) -> str:
        """One answer, asked for again where the server is busy or does not answer. Raises ConfigError where it gives
        none, or the budget of requests is used up."""
        where = f"{self.config.url.rstrip('/')}/chat/completions"
        said = ""
        for attempt in range(self.config.retries + 1):
            if attempt:
                self._sleep(WAIT * 2 ** (attempt - 1))
            if self._left <= 0:
                raise ConfigError(
                    f"{self.config.requests} requests to {where} are used up (explainer.requests)",
                    "set it higher and run again: the answers so far are kept and cost nothing",
                )
            self._left -= 1
            try:
                return self._once(where, asked)
            except error.HTTPError as wrong:
                said = f"status {wrong.code}"
                if wrong.code not in AGAIN:
                    break
            except (OSError, ValueError, KeyError, IndexError, TypeError) as wrong:
                said = f"{type(wrong).__name__}: {wrong}"
        raise ConfigError(
            f"{where} gives no answer after {attempt + 1} requests: {said}",
            "check explainer.url, explainer.model and the key; the answers so far are kept",
        )

    def _once(self, where: str, asked: str) -> str:
        body = {"model": self.config.model, "messages": [{"role": "user", "content": asked}], "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if self.config.key_env is not None:
            key = os.environ.get(self.config.key_env)
            if not key:
                raise ConfigError(
                    f"the environment variable {self.config.key_env!r} (explainer.key_env) holds no key", "set it"
                )
            headers["Authorization"] = f"Bearer {key}"
        call = request.Request(where, json.dumps(body).encode(), headers)
        with request.urlopen(call, timeout=self.config.timeout) as response:
            found = json.loads(response.read().decode("utf-8"))
        return str(found["choices"][0]["message"]["content"])
