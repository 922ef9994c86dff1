"""Small cross-encoders made here, chunks to rerank, and a server that answers as a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from retrieval.ports import SearchView
from retrieval.records import Chunk, DocumentInfo, StoredChunk

VIEW = cast("SearchView", None)
"""These rerankers need no more of a chunk than its text."""

WORDS = "the pump valve must be open before a first start closed never dry running water oil pressure high low".split()


def stored(text: str, *, context: str = "", number: int = 0) -> StoredChunk:
    chunk = Chunk(f"d:{number:06d}", "d", "v", number, 0, len(text), text, context=context)
    return StoredChunk(chunk, DocumentInfo("d", "v", "file:///d", "Pumps", "text/plain", len(text)))


def chunks_of(*texts: str) -> list[StoredChunk]:
    return [stored(text, number=number) for number, text in enumerate(texts)]


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with one label, as sentence-transformers reads cross-encoders; its window is 64 tokens."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    torch.set_num_threads(1)  # for so small a model, threads only wait for each other
    return make_bert(tmp_path_factory.mktemp("tiny") / "tiny-ranker")


def make_bert(folder: Path, *, labels: int = 1, activation: str = "") -> Path:
    """Write a random BERT of two layers that classifies pairs; `activation` is the name of a torch class."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*WORDS} - {*letters}), *letters]
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
        num_labels=labels,
        # Random weights of the usual size average out to one score for all pairs; larger ones tell pairs apart.
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n", encoding="utf-8")
    if activation:
        _change_config(folder, sentence_transformers={"activation_fn": f"torch.nn.modules.{activation}"})
    return folder


def make_xlm_roberta(folder: Path) -> Path:
    """Write a random XLM-RoBERTa that classifies pairs: other special tokens, no token types, offset positions."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789?.,", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *sorted({*WORDS} - {*letters}), *letters]
    numbers = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(12)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=66,
        type_vocab_size=1,
        num_labels=1,
        pad_token_id=1,
        initializer_range=0.2,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def _change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_models(tiny_cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of prepared models with `tiny-ranker` in it."""
    pytest.importorskip("onnx")
    from retrieval.rerankers.prepare import prepare_cross_encoder

    folder = tmp_path_factory.mktemp("models")
    prepare_cross_encoder(tiny_cross_encoder, models_path=folder)
    return folder


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says: `body` as JSON unless it is bytes."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """Where it is, and what it was asked: path, headers in lower case, JSON body."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


Answer = Callable[[Any], Reply]
"""From the JSON of a request."""


@contextmanager
def answering(answer: Answer) -> Iterator[Server]:
    """A running server that answers every POST as `answer` says."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            reply = answer(body)
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"content-length": str(len(content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is for failures."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def in_turn(*replies: Reply) -> Answer:
    """Each reply once, the last one again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def word_scores(query: str, texts: Sequence[str]) -> list[float]:
    """How many words of the query each text has: what the fake services rank by."""
    words = set(query.lower().split())
    return [float(len(words & set(text.lower().split()))) for text in texts]
