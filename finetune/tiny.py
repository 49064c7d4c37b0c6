"""A Llama from scratch: small enough to train on a laptop, real enough for transformers, PEFT and vLLM.

For the demo, tests and the full-scale from-scratch runs, where no pretrained weights are at hand. The tokenizer is a
byte-level BPE trained on code titles, digits one by one so that codes share their structure. Its chat template writes the
clinical text in lower case, since a small model has better uses for its weights than three spellings of each word, and ends
it with one special token, which is the instruction: "the ICD-10-CM codes of the text above". With `category_tokens` each
category is one token with its dot (`E11.`), so that a code has three tokens less and what a category means has a place of its
own; in lower case no text holds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator

from icd10cm.config import Settings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, END, PAD, TEXT, CODES = "<|begin|>", "<|end|>", "<|pad|>", "<|text|>", "<|icd10cm|>"

CATEGORY_LENGTH = len("E11.")
"""Characters of a category with its dot; a code that is a category has no dot and is shorter."""

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{ '" + BEGIN + TEXT + "' + (message['content'] | lower) + '" + CODES + "' }}"
    "{%- elif message['role'] == 'assistant' %}{{ message['content'] + '" + END + "' }}"
    "{%- endif %}{%- endfor %}"
)


class TinyLlama(Settings):
    """Size of a Llama to build: one YAML file under `configs/sft/`."""

    vocab_size: PositiveInt = Field(1024, description="tokens, special ones included; at least 300")
    category_tokens: bool = Field(False, description="one token more for each three-character category, its dot included")
    hidden_size: PositiveInt = Field(256, description="width of the residual stream")
    intermediate_size: PositiveInt = Field(768, description="width of the feed-forward layers")
    num_hidden_layers: PositiveInt = Field(4, description="layers")
    num_attention_heads: PositiveInt = Field(4, description="attention heads; divides hidden_size")
    max_position_embeddings: PositiveInt = Field(256, description="longest prompt and completion, in tokens")
    seed: int = Field(0, description="seed of the initial weights")

    @model_validator(mode="after")
    def _check_heads(self) -> TinyLlama:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        return self


def write_tiny_checkpoint(size: TinyLlama, titles: Iterable[str], folder: Path, codes: Iterable[str] = ()) -> None:
    """Write an untrained checkpoint folder: weights, tokenizer with chat template, generation config.

    Args:
        size: of the model.
        titles: texts that the tokenizer is trained on.
        folder: to write.
        codes: dotted codes whose categories become tokens, where `size` wants that.
    """
    tokenizer = build_tokenizer(size, titles, codes)
    model = build_model(size, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_tokenizer(size: TinyLlama, titles: Iterable[str], codes: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a model of this size; arguments as those of `write_tiny_checkpoint`."""
    categories = {code[:CATEGORY_LENGTH] for code in codes} if size.category_tokens else ()
    return train_tokenizer(titles, size.vocab_size, size.max_position_embeddings, sorted(categories))


def train_tokenizer(
    titles: Iterable[str], vocab_size: int, max_length: int, categories: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `titles` in lower case, as the chat template writes them.

    Args:
        titles: to train on.
        vocab_size: tokens, without those of `categories`.
        max_length: tokens that the model reads.
        categories: beginnings of codes that are one token each, such as `E11.` and `I10`.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [PAD, BEGIN, END, TEXT, CODES]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(dict.fromkeys(title.lower() for title in titles), trainer)
    bpe.add_tokens([AddedToken(category, normalized=False) for category in categories])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[TEXT, CODES],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def build_model(size: TinyLlama, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with fresh weights for `tokenizer`."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(size.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size,
        num_hidden_layers=size.num_hidden_layers,
        num_attention_heads=size.num_attention_heads,
        num_key_value_heads=size.num_attention_heads,
        max_position_embeddings=size.max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.max_length = None
    return model
