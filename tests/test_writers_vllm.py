"""The same entry against the project's own vLLM server, whose structured output makes even a random model write JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import find_test_port
from transformers import AutoTokenizer, LlamaForCausalLM
from writer_runs import ROOT, call, read_store

from icd10cm import CodeSet
from icd10cm.config import check_settings, read_yaml
from icd10cm.run_header import build_header, write_json


@pytest.mark.slow
def test_a_random_model_on_vllm_writes_json_that_the_row_checks_refuse(codes: CodeSet, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    import yaml

    from finetune.tiny import TinyLlama, write_tiny_checkpoint
    from serving.command import ServeSettings
    from serving.process import start_server

    model = tmp_path / "model"
    size = TinyLlama(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=1024,
    )  # fmt: skip
    write_tiny_checkpoint(size, [codes.title(code) for code in codes.codes[::200]], model)
    assert isinstance(LlamaForCausalLM.from_pretrained(model), LlamaForCausalLM)
    write_json(model / "run.json", build_header("test", {}, release=codes.release))
    tokenizer = AutoTokenizer.from_pretrained(model)
    # it would otherwise end a text once in 600 tokens
    bias = {str(tokenizer.encode(sign, add_special_tokens=False)[-1]): 6 for sign in '"]}'}

    values = read_yaml(ROOT / "configs" / "serving" / "vllm.yaml")
    changed = {"model": model, "port": find_test_port(18500), "log_file": tmp_path / "vllm.log"}
    writer = {
        "model": "icdtune",
        "attempts": 3,
        "max_tokens": 200,
        "recover": True,  # takes the keys it does not know
        "extra_body": {"vllm_xargs": {"constrain": "off"}, "logit_bias": bias, "seed": 1},
    }
    with start_server(check_settings(ServeSettings, values | changed, "test"), progress=False) as server:
        settings = {
            "output_dir": str(tmp_path / "data"),
            "prefixes": ["E11.2", "I10"],
            "train_variants": {"reordered": 2, "typo": 2},
            "backend": "openai",
            "writer": writer | {"base_url": server.base_url},
        }
        (tmp_path / "llm.yaml").write_text(yaml.safe_dump(settings))
        done = call(tmp_path / "llm.yaml")
    assert done.returncode == 0, done.stderr
    answers = read_store(tmp_path)
    contents = [answer["body"]["choices"][0] for answer in answers]
    whole = [choice for choice in contents if choice["finish_reason"] == "stop"]
    assert whole and all(isinstance(json.loads(choice["message"]["content"])["texts"], list) for choice in whole)
    assert all(answer["output_tokens"] > 0 for answer in answers), "counted by the server"
    assert (tmp_path / "data" / "train.parquet").is_file()
