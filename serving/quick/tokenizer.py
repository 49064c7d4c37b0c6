"""A checkpoint's tokenizer without transformers, as far as `serving.prompting` and the coder need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from icd10cm.errors import CheckpointError
from icd10cm.prompts import Message
from serving.checkpoint import read_json


class QuickTokenizer:
    """The tokenizers library under the names of transformers.

    Attributes:
        eos_token_id: ends an answer; None where the checkpoint names no such token.
        all_special_ids: tokens that stand for no text.
    """

    def __init__(self, folder: Path):
        """Read `tokenizer.json` and the chat template. Raises `CheckpointError`."""
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception for damaged files
            raise CheckpointError(f"{folder}: its tokenizer cannot be loaded ({str(error)[:200]})") from None
        # a file can tell to pad and to cut as its training did
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
        self._named = {name: _read_token(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        self._template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self.eos_token_id = self._tokenizer.token_to_id(self._named["eos_token"] or "")
        self.all_special_ids = [id for id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]

    def __len__(self) -> int:
        """Number of tokens, those added to the vocabulary included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def __call__(self, texts: str | Sequence[str], **_options: Any) -> dict[str, Any]:
        """Return `input_ids` of a text, or of each of several; no special tokens are added."""
        listed = [texts] if isinstance(texts, str) else list(texts)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(listed, add_special_tokens=False)]
        return {"input_ids": ids[0] if isinstance(texts, str) else ids}

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Return the text of `tokens`."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=skip_special_tokens))

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str | None]:
        """Return each token as the vocabulary spells it."""
        return [self._tokenizer.id_to_token(id) for id in ids]

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = False, **_options: Any) -> str:
        """Return the prompt for `messages`, rendered as transformers does it. Raises `jinja2.TemplateError`."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        named = {name: token for name, token in self._named.items() if token}
        template = environment.from_string(self._template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt, **named)


def _read_token(value: Any) -> str | None:
    return value["content"] if isinstance(value, dict) else value
