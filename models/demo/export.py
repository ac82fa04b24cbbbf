"""Writes a checkpoint as GGUF: `python export.py checkpoint.npz resident-demo.gguf`. Matrices become Q8_0,
norms stay F32, tokenizer and chat template go into the metadata, so that the file is complete."""

import json
import sys

import gguf
import numpy as np

import model
import text


def add_metadata(writer: gguf.GGUFWriter):
    writer.add_name("Resident Demo")
    writer.add_description("A demo: a tiny model that answers questions about Resident in English and Chinese. Not for real work.")
    writer.add_license("Apache-2.0 OR MIT")
    writer.add_languages(["en", "zh"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(model.CONTEXT_TOKENS)
    writer.add_embedding_length(model.WIDTH)
    writer.add_block_count(model.LAYERS)
    writer.add_feed_forward_length(model.INNER_WIDTH)
    writer.add_head_count(model.HEADS)
    writer.add_head_count_kv(model.KV_HEADS)
    writer.add_key_length(model.HEAD_WIDTH)
    writer.add_value_length(model.HEAD_WIDTH)
    writer.add_rope_freq_base(model.ROPE_BASE)
    writer.add_layer_norm_rms_eps(model.NORM_EPSILON)
    writer.add_vocab_size(model.VOCABULARY)


def add_tokenizer(writer: gguf.GGUFWriter):
    whole = json.loads((text.FOLDER / "tokenizer.json").read_text())
    ids = dict(whole["model"]["vocab"]) | {token["content"]: token["id"] for token in whole["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    assert len(tokens) == model.VOCABULARY and [ids[token] for token in tokens] == list(range(len(tokens)))
    # Tags are user-defined, not control tokens: they must stay visible in the text that a client parses.
    kinds = {token: gguf.TokenType.CONTROL for token in text.CONTROL_TOKENS} | {token: gguf.TokenType.USER_DEFINED for token in text.TAG_TOKENS}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((text.FOLDER / "chat_template.jinja").read_text())


def add_tensor(writer: gguf.GGUFWriter, name: str, value: np.ndarray):
    if value.ndim == 1:
        writer.add_tensor(name + ".weight", value.astype(np.float32))
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name + ".weight", gguf.quants.quantize(value.astype(np.float32), kind), raw_dtype=kind)


def main():
    checkpoint, out = np.load(sys.argv[1]), sys.argv[2]
    writer = gguf.GGUFWriter(out, "qwen3")
    add_metadata(writer)
    add_tokenizer(writer)
    for key in checkpoint.files:
        add_tensor(writer, key, checkpoint[key])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
