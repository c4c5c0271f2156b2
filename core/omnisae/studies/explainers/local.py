"""Phrases by a causal language model in a local folder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omnisae.errors import ConfigError, PluginError
from omnisae.studies.explainer import Case, Explainer
from omnisae.studies.explainers.prompt import Kept, question, tidy

if TYPE_CHECKING:
    from omnisae.studies.explainers.configs import LocalConfig


class Local(Explainer):
    """Greedy answers of a model that transformers reads from a folder, never from a network."""

    def __init__(self, config: "LocalConfig") -> None:
        self.config = config
        if not (config.model / "config.json").is_file():
            raise ConfigError(
                f"explainer.model: {config.model} holds no config.json", "name a folder that save_pretrained wrote"
            )
        stamp = (config.model / "config.json").stat()
        self._kept = Kept(config.cache, f"{config.model} {stamp.st_size} {stamp.st_mtime_ns} {config.tokens}")
        self._loaded: tuple[Any, Any] | None = None

    def phrases(self, cases: Sequence[Case], others: Sequence[str]) -> list[str]:
        return [tidy(self._answer(question(case.texts, self.config.texts))) if case.texts else "" for case in cases]

    def _answer(self, asked: str) -> str:
        kept = self._kept.get(asked)
        if kept is None:
            kept = self._generate(asked)
            self._kept.put(asked, kept)
        return kept

    def _generate(self, asked: str) -> str:
        import torch

        tokenizer, model = self._load()
        if getattr(tokenizer, "chat_template", None):
            said = [{"role": "user", "content": asked}]
            asked = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        given = tokenizer(asked, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(**given, max_new_tokens=self.config.tokens, do_sample=False)
        return str(tokenizer.decode(found[0, given["input_ids"].shape[1] :], skip_special_tokens=True))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                from transformers import AutoModelForCausalLM, AutoTokenizer
            except ImportError as error:
                raise PluginError(
                    f"explainer.type 'core.local' needs transformers, which cannot be imported: {error}",
                    "pip install transformers",
                ) from error
            tokenizer = AutoTokenizer.from_pretrained(self.config.model, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(self.config.model, local_files_only=True)
            model.eval()  # type: ignore[no-untyped-call]
            self._loaded = tokenizer, model
        return self._loaded
