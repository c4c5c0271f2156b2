"""Phrases: TF-IDF against the formula, a chat endpoint with retries, a budget and kept answers, a local model."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from math import log

import pytest

from omnisae.errors import ConfigError
from omnisae.plugins import ExplainerConfig
from omnisae.plugins.registry import registry
from omnisae.studies.explainer import Case
from omnisae.studies.explainers.chat import Chat
from omnisae.studies.explainers.configs import ChatConfig, LocalConfig, TfidfConfig
from omnisae.studies.explainers.prompt import Kept, question, tidy
from omnisae.studies.explainers.tfidf import words

OTHERS = ["red apple pie", "green apple", "blue sky", "red car", "the grey road"]


def test_a_phrase_holds_the_words_that_score_highest_by_the_formula():
    case = Case("0", ("red apple tart", "apple crumble", "an apple, red", "blue plum"))
    score = {"apple": 3 / 4 * log(6 / 3), "red": 2 / 4 * log(6 / 3)}
    assert score["apple"] > score["red"]
    assert TfidfConfig(words=2).build().phrases([case], OTHERS) == ["apple, red"]
    assert TfidfConfig(words=1, share=0.9).build().phrases([case], OTHERS) == [""]
    assert TfidfConfig().build().phrases([Case("1", ())], OTHERS) == [""]


def test_words_keep_hyphens_and_decades_and_drop_what_says_nothing():
    assert words("The Sci-Fi of the 1980s, and 7 others") == ["sci-fi", "1980s", "others"]


def test_answers_become_phrases_and_questions_show_the_strongest():
    assert tidy('\n- "Films about war."\nmore') == "Films about war"
    assert tidy(" \n ") == ""
    assert "- a b\n- c\n" in question(("a\n b", "c", "d"), 2)
    assert "- d" not in question(("a", "c", "d"), 2)


@pytest.fixture
def endpoint():
    """A server that answers with the statuses in `plan`, then with 200; what it was asked stands in `seen`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.seen.append((self.path, self.headers.get("Authorization"), body))
            status = self.server.plan.pop(0) if self.server.plan else 200
            self.send_response(status)
            self.end_headers()
            reply = "not json" if status == 201 else json.dumps({"choices": [{"message": {"content": '"War films"'}}]})
            self.wfile.write(reply.encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.plan, server.seen = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def chat(endpoint, tmp_path, waits, **settings):
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    return Chat(ChatConfig(url=url, model="m", cache=tmp_path, **settings), sleep=waits.append)


def test_a_busy_endpoint_is_asked_again_and_answers_are_kept(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    endpoint.plan, waits = [503, 201], []
    cases = [Case("0", ("a", "b")), Case("1", ())]
    one = chat(endpoint, tmp_path, waits, key_env="SOME_KEY")
    assert one.phrases(cases, OTHERS) == ["War films", ""]
    assert waits == [1.0, 2.0]
    assert len(endpoint.seen) == 3
    path, key, body = endpoint.seen[0]
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer secret", "m", 0)
    assert chat(endpoint, tmp_path, waits, requests=1).phrases(cases, OTHERS) == ["War films", ""]
    assert len(endpoint.seen) == 3, "a kept answer costs no request"
    kept = [path.read_text() for path in tmp_path.iterdir()]
    assert len(kept) == 1
    assert "secret" not in kept[0]


def test_refusals_and_used_up_budgets_say_so_and_keep_what_there_is(endpoint, tmp_path, monkeypatch):
    waits = []
    endpoint.plan = [401]
    with pytest.raises(ConfigError, match="gives no answer after 1 requests: status 401"):
        chat(endpoint, tmp_path, waits).phrases([Case("0", ("a",))], OTHERS)
    endpoint.plan = [500] * 9
    with pytest.raises(ConfigError, match="after 2 requests: status 500"):
        chat(endpoint, tmp_path, waits, retries=1).phrases([Case("0", ("a",))], OTHERS)
    endpoint.plan = []
    with pytest.raises(ConfigError, match="1 requests to .* are used up"):
        chat(endpoint, tmp_path, waits, requests=1).phrases([Case("0", ("a",)), Case("1", ("b",))], OTHERS)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ConfigError, match="'NO_KEY' .* holds no key"):
        chat(endpoint, tmp_path, waits, key_env="NO_KEY").phrases([Case("2", ("c",))], OTHERS)
    with pytest.raises(ConfigError, match="must begin with http:// or https://"):
        Chat(ChatConfig(url="file:///etc/passwd", model="m"))


def test_a_damaged_answer_counts_as_none(tmp_path):
    kept = Kept(tmp_path, "m")
    kept.put("q", "answer")
    assert kept.get("q") == "answer"
    assert Kept(tmp_path, "other").get("q") is None
    next(tmp_path.iterdir()).write_text('{"answer": ')
    assert kept.get("q") is None


def test_a_local_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"explainer.model: .* holds no config\.json"):
        LocalConfig(model=tmp_path).build()


@pytest.mark.slow  # transformers takes seconds to import
def test_a_local_model_answers_twice_the_same_and_once_from_disk(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "model"
    known = {word: i for i, word in enumerate(["<unk>", "war", "films", "in", "space", "texts"])}
    plain = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>").save_pretrained(folder)
    config = transformers.GPT2Config(vocab_size=6, n_positions=256, n_embd=8, n_layer=1, n_head=1, bos_token_id=0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    case = Case("0", ("war in space",))
    first = LocalConfig(model=folder, tokens=3, cache=tmp_path / "kept").build()
    (phrase,) = first.phrases([case], OTHERS)
    assert phrase == LocalConfig(model=folder, tokens=3, cache=tmp_path / "other").build().phrases([case], OTHERS)[0]
    again = LocalConfig(model=folder, tokens=3, cache=tmp_path / "kept").build()
    monkeypatch.setattr(again, "_load", lambda: pytest.fail("a kept answer needs no model"))
    assert again.phrases([case], OTHERS) == [phrase]


def test_explainers_are_found_by_their_type():
    assert isinstance(registry().resolve(ExplainerConfig, "core.tfidf"), TfidfConfig)
