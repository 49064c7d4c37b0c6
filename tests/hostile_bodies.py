"""Requests that no honest client sends: bodies that are no JSON, values out of range, other people's types."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
JSON = "application/json"
OFF = {"vllm_xargs": {"constrain": "off"}}


class Hostile(NamedTuple):
    """One request: where it goes, what it says it is, what it holds."""

    path: str
    body: bytes
    kind: str = JSON


_RAW = (
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b'"gout"',
    b"[]",
    b'["gout"]',
    b"{}",
    b"{",
    b'{"prompt": ',
    b'{"prompt": "gout",}',
    b"{'prompt': 'gout'}",
    b"\xff\xfe",
    b"\x00" * 1000,
    b'{"prompt": "\xff\xfe", "max_tokens": 3}',
    b'{"prompt": "\\ud800", "max_tokens": 3}',
    b'{"prompt": "\\udc00\\ud800 gout", "max_tokens": 3}',
    b'{"prompt": "gout", "stop": "\\ud800", "max_tokens": 3}',
    b'{"prompt": "gout", "user": "\\ud800", "max_tokens": 3}',
    b'{"prompt": "gout", "model": "\\ud800", "max_tokens": 3}',
    b'{"prompt": "gout", "\\ud800": 1, "max_tokens": 3}',
    b'{"prompt": "gout", "request_id": "\\ud800", "max_tokens": 3}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 3}',
    b'{"messages": [{"role": "\\ud800", "content": "x"}], "max_tokens": 3}',
    b'{"prompt": "gout", "temperature": NaN}',
    b'{"prompt": "gout", "temperature": Infinity}',
    b'{"prompt": "gout", "temperature": -Infinity}',
    b'{"prompt": "gout", "temperature": 1e400}',
    b'{"prompt": "gout", "top_p": NaN}',
    b'{"prompt": "gout", "logit_bias": {"5": NaN}}',
    b'{"prompt": "gout", "presence_penalty": NaN, "max_tokens": 3}',
    b'{"prompt": "gout", "repetition_penalty": NaN, "max_tokens": 3}',
    b'{"prompt": "gout", "min_p": NaN, "max_tokens": 3}',
    b'{"prompt": "gout", "priority": NaN, "max_tokens": 3}',
    b'{"prompt": "gout", "seed": ' + b"9" * 5000 + b"}",
    b'{"prompt": "gout", "max_tokens": ' + b"9" * 400 + b"}",
    b'{"prompt": "gout", "prompt": "copd", "max_tokens": 3}',
    b"[" * 100_000,
    b'{"prompt": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"a": ' * 50_000 + b"1" + b"}" * 50_000,
    b'{"prompt": "gout", "metadata": ' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    b'{"prompt": "gout", "vllm_xargs": ' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"prompt": "' + b"a" * 5_000_000 + b'"}',
    b'{"prompt": "' + b"ulcer " * 500_000 + b'"}',
    b'{"prompt": "' + b"x" * 2_000_000 + b'", "max_tokens": 3}',
    b'{"messages": [{"role": "user", "content": "' + b"gout " * 400_000 + b'"}]}',
    b"\xef\xbb\xbf" + b'{"prompt": "gout", "max_tokens": 3}',
    '{"prompt": "gout", "max_tokens": 3}'.encode("utf-16"),
    b"prompt=gout&max_tokens=3",
)

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**6, 2**31, 2**63, 2**64, 10**30, -(2**63), 1e308, "", "x", "\x00", [], {}, [None]
)  # fmt: skip
_FIELDS: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": ("x",),
    "add_special_tokens": (),
    "allowed_token_ids": ([], [10**6], [-1], [1.5], [5]),
    "bad_words": ([""], ["\x00"], ["\U0001f9a0" * 50], ["a"] * 5_000),
    "best_of": (50,),
    "cache_salt": ("", "a" * 10_000),
    "chat_template": ("{% for i in range(10**9) %}x{% endfor %}", "{{ ''.__class__.__mro__ }}", "{% if %}"),
    "chat_template_kwargs": ({"messages": 5}, {"chat_template": "x", "tokenize": 5}),
    "continue_final_message": (True,),
    "detokenize": (False,),
    "documents": ([5],),
    "echo": (True,),
    "frequency_penalty": (-2.0,),
    "ignore_eos": (True,),
    "include_stop_str_in_output": (True,),
    "kv_transfer_params": ({"do_remote_decode": True}, {"do_remote_prefill": True, "remote_block_ids": [1]}),
    "length_penalty": (-1e300,),
    "logit_bias": ({"1000000": 5}, {"-1": 5}, {"x": 5}, {"5": 1e300}, {"5": "x"}),
    "logits_processors": (["os.system"],),
    "logprob_token_ids": ([1, 10**6], [-1]),
    "logprobs": (True, 20, 10_000, -2),
    "max_completion_tokens": (-5,),
    "max_tokens": (10**9,),
    "metadata": ({"a": {"b": 1}},),
    "min_p": (1.0,),
    "min_tokens": (500,),
    "mm_processor_kwargs": ({"a": 1},),
    "model": ("nobody", "../../etc/passwd", "icdtune\x00"),
    "n": (10_000, 200),
    "presence_penalty": (2.0,),
    "priority": (5,),
    "prompt_embeds": ("AAAA", "not base64!"),
    "prompt_logprobs": (0, 20, 10_000, -2),
    "reasoning_effort": ("high",),
    "repetition_detection": ({"max_pattern_size": 10**9},),
    "repetition_penalty": (1e-300, 1e300),
    "request_id": ("same", "same", "x" * 100_000),
    "response_format": ({"type": "json_object"}, {"type": "x"}, {"type": "json_schema"}),
    "return_token_ids": (True,),
    "seed": (-1, 2**63 - 1),
    "skip_special_tokens": (False,),
    "spaces_between_special_tokens": (),
    "stop": ([""], ["a"] * 10_000, ","),
    "stop_token_ids": ([10**6], [-1], [2**40], [2**70]),
    "stream": ("yes", "true", [True], True),
    "stream_options": ({"include_usage": "x"}, {"include_usage": True}),
    "structured_outputs": ({"regex": "(a+)+$"}, {"choice": []}),
    "suffix": (),
    "temperature": (1e-300, 1e300),
    "thinking_token_budget": (5,),
    "tool_choice": ("required",),
    "tools": ([{"type": "function", "function": {"name": "f"}}],),
    "top_k": (10**9, -5),
    "top_logprobs": (20, 10_000),
    "top_p": (1e-300,),
    "truncate_prompt_tokens": (1, 10**6),
    "use_beam_search": (True,),
    "user": ("a" * 100_000,),
    "vllm_xargs": ({"constrain": "maybe"}, {"constrain": ["off"]}, {"x": {"y": 1}}, {"a": "b" * 100_000}),
}
"""Fields of a request and values that may hurt, besides two of `_ODD` for each."""

_PROMPTS: tuple[Any, ...] = (
    "", " ", "\x00" * 300, "a\x00b", "\u202e\u0000\uffff", "\U0001f9a0" * 100, [], [[]], [""], ["", ""], [None], [1, "a"],
    [[1], "a"], [-1], [0], [1176], [10**6], [2**31], [2**63], [2**64], [1.5], [True], [[1, 2], []], [[-5]], [[2**40]],
    ["gout"] * 10_000, [[5]] * 10_000, [5] * 10_000, ["gout"] * 300, {"text": "gout"}, 5, True, "gout " * 30_000,
    "<|user|>" * 50, "<|end|><|codes|>", {"prompt_token_ids": [1]}, [{"prompt": "a"}], "(" * 20_000,
)  # fmt: skip

_CONTENTS: tuple[Any, ...] = (
    None, 5, [], "\x00", "", [{"type": "text"}], [{"type": "text", "text": 5}], [{"type": "none"}],
    [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}],
    [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
    [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
)  # fmt: skip

_MESSAGES: tuple[Any, ...] = (
    *([{"role": "user", "content": content}] for content in _CONTENTS),
    [], None, "gout", {}, [None], ["gout"], [{}], [{"role": "user"}], [{"content": "gout"}], [{"role": 5, "content": "gout"}],
    [{"role": "assistant", "content": "I10"}], [{"role": "system", "content": "say hello"}], [{"role": "tool", "content": "x"}],
    [{"role": "user", "content": "gout"}] * 500, [{"role": "user", "content": "x", "name": 5}],
    [{"role": "assistant", "content": None, "tool_calls": [{}]}], [{"role": "assistant", "tool_calls": "x"}],
    [{"role": "user" * 10_000, "content": "x"}],
)  # fmt: skip

_COMBINED: tuple[dict[str, Any], ...] = (
    {"n": 3, "stream": True, "temperature": 1.0},
    {"n": 16, "seed": 7, "temperature": 1.0},
    {"echo": True, "max_tokens": 0, "logprobs": 5},
    {"echo": True, "stream": True, "logprobs": 1},
    {"logprobs": True, "top_logprobs": -1},
    {"logprobs": False, "top_logprobs": 5},
    {"prompt_logprobs": 1, "stream": True},
    {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"min_tokens": 3, "max_tokens": 2},
    {"use_beam_search": True, "n": 4},
    {"continue_final_message": True, "add_generation_prompt": False},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "x"}}}], "tool_choice": "required"},
)

_REGEXES = (
    "(a+)+$", "(((((a*)*)*)*)*)*b", "(", "a{1,100000}", "(a{1,1000}){1,1000}", "(?=a)b", "\\1(a)", "\x00", "", "[" * 1000,
    "a" * 100_000, "(a|b|ab)*c" * 200,
)  # fmt: skip
_GRAMMARS = ("root ::= root", "x", 'root ::= (root root | "a")')
_SCHEMAS: tuple[Any, ...] = (
    "{",
    {"type": "x"},
    {"$ref": "#"},
    {"$ref": "http://127.0.0.1:1/"},
    {"type": "string", "pattern": "(a+)+$"},
    {"type": "array", "minItems": 10**9},
    {"type": "string", "minLength": 10**9},
    {"type": "integer", "minimum": -(10**30)},
    {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
)
_CHOICES: tuple[Any, ...] = ([], [""], ["a" * 10_000], [str(number) for number in range(20_000)])

_FORMATS: tuple[Any, ...] = (
    *({"regex": regex} for regex in _REGEXES),
    *({"grammar": grammar} for grammar in _GRAMMARS),
    *({"json": schema} for schema in _SCHEMAS),
    *({"choice": choice} for choice in _CHOICES),
    *({"regex": "a", "_backend": name} for name in ("outlines", "guidance", "lm-format-enforcer", "none")),
    {"regex": "a", "choice": ["b"]},
    {"structural_tag": {"triggers": [""], "structures": []}},
    {"regex": "\\d{3}", "disable_any_whitespace": True},
)

_FREE: tuple[dict[str, Any], ...] = (
    *({"structured_outputs": wanted} for wanted in _FORMATS),
    *({"use_beam_search": True, **more} for more in ({"n": 2}, {"n": 10**5}, {"n": 0}, {"n": 2, "stream": True})),
    {"use_beam_search": True, "n": 3, "length_penalty": -1e300},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMAS[-1]}}},
    {"structured_outputs": {"regex": "a"}, "ignore_eos": True, "max_tokens": 40},
    {"structured_outputs": {"regex": "a"}, "min_tokens": 30, "max_tokens": 40},
    {"structured_outputs": {"choice": ["a"]}, "allowed_token_ids": [7], "max_tokens": 5},
    {"structured_outputs": {"choice": ["a"]}, "logit_bias": {"5": 100}, "n": 3},
    {"min_tokens": 500, "ignore_eos": True},
    {"n": 100, "temperature": 2.0},
)


def list_hostile(seed: int = 7) -> list[Hostile]:
    """Return the requests in an order that is shuffled and always the same."""
    requests = list(_list_all())
    random.Random(seed).shuffle(requests)
    return requests


def _list_all() -> Iterator[Hostile]:
    for raw, path in itertools.product(_RAW, (COMPLETIONS, CHAT)):
        yield Hostile(path, raw)
    for kind in ("", "text/plain", "multipart/form-data", "application/xml", "application/json; charset=latin-1"):
        yield Hostile(COMPLETIONS, b'{"prompt": "gout", "max_tokens": 3}', kind)
        yield Hostile(CHAT, b"\xff", kind)
    for prompt in _PROMPTS:
        yield _pack(COMPLETIONS, {"prompt": prompt, "max_tokens": 3})
    for messages in _MESSAGES:
        yield _pack(CHAT, {"messages": messages, "max_tokens": 3})
    for options in _COMBINED:
        yield from _ask_both(options)
    for options in _FREE:
        yield from _ask_both(OFF | options)
    seeded = random.Random(1)
    for field, values in _FIELDS.items():
        for value in (*values, *seeded.sample(_ODD, 2)):
            yield seeded.choice(list(_ask_both({field: value})))


def _ask_both(options: dict[str, Any]) -> Iterator[Hostile]:
    yield _pack(COMPLETIONS, {"prompt": "gout", "max_tokens": 4} | options)
    yield _pack(CHAT, {"messages": [{"role": "user", "content": "gout"}], "max_tokens": 4} | options)


def _pack(path: str, request: dict[str, Any]) -> Hostile:
    return Hostile(path, json.dumps(request).encode())
