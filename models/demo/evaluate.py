"""Scores the exported file: `python evaluate.py resident-demo.gguf`. Reads the GGUF back, dequantises it and
decodes single questions greedily and at temperature 0.8, top-p 0.95. Never seen in training: the phrasings of
the facts and the listed topics of the tools. Tool and JSON sentences have trained forms with fresh names."""

import json
import random
import re
import sys

import gguf
import numpy as np
import torch

import data
import model
import text

LENGTH_TOKENS = 320
NEW_TOKENS_MAX = 96
KINDS = ("fact", "json", "tool", "repeat")


def read(path: str) -> dict:
    """The weights as the runtime sees them: after Q8_0."""
    tensors = gguf.GGUFReader(path).tensors
    return {item.name.removesuffix(".weight"): torch.tensor(gguf.quants.dequantize(item.data, item.tensor_type)) for item in tensors}


def choose(logits: np.ndarray, temperature: float, random_source) -> np.ndarray:
    """Greedy at temperature 0, else top-p 0.95."""
    if temperature == 0.0:
        return logits.argmax(-1)
    chosen = []
    for row in logits:
        weights = np.exp((row - row.max()) / temperature)
        weights /= weights.sum()
        order = np.argsort(-weights)
        kept = order[: int(np.searchsorted(np.cumsum(weights[order]), 0.95)) + 1]
        chosen.append(random_source.choice(kept, p=weights[kept] / weights[kept].sum()))
    return np.array(chosen)


@torch.inference_mode()
def answer(parameters, tokenizer, prompts: list, temperature: float = 0.0) -> list:
    """Decodes all prompts side by side; returns (text, stopped by itself)."""
    ids = [tokenizer.encode(prompt).ids for prompt in prompts]
    end, random_source = tokenizer.token_to_id("<|im_end|>"), np.random.default_rng(1)
    cache, produced = model.empty_cache(len(ids), LENGTH_TOKENS), [[] for _ in ids]
    current = [row[0] for row in ids]
    for position in range(LENGTH_TOKENS - 1):
        logits = model.decode_step(parameters, cache, torch.tensor(current), position).numpy()
        needed = any(position + 1 >= len(row) for row in ids)
        following = choose(logits, temperature, random_source) if needed else np.zeros(len(ids), np.int64)
        for index, row in enumerate(ids):
            if position + 1 < len(row):
                following[index] = row[position + 1]
            elif end not in produced[index] and len(produced[index]) < NEW_TOKENS_MAX:
                produced[index].append(int(following[index]))
        current = following.tolist()
        if all(end in row or len(row) >= NEW_TOKENS_MAX for row in produced):
            break
    return [(tokenizer.decode([token for token in row if token != end], skip_special_tokens=False), end in row) for row in produced]


def cases(count: int) -> list:
    """(kind, chinese, messages, tools, expected) of single questions from the test side of data.py."""
    maker, found = data.Maker(random.Random(7), test=True), []
    for index in range(count):
        chinese, kind = index % 2 == 1, KINDS[index // 2 % len(KINDS)]
        if kind == "tool":
            tools, turns = maker.tool_talk(chinese)
        else:
            make = {"fact": maker.fact, "json": maker.json_object, "repeat": maker.repetition}[kind]
            tools, turns = [], make(chinese)
        expected = text.render(turns[1:2], []).removeprefix("<|im_start|>assistant\n").removesuffix("<|im_end|>\n")
        found.append((kind, chinese, turns[:1], tools, expected))
    return found


def is_call(produced: str, tools: list) -> bool:
    """Well formed, and both the name and the argument names come from a given schema."""
    match = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", produced)
    value = parsed(match.group(1)) if match else None
    known = {tool["function"]["name"]: set(tool["function"]["parameters"]["properties"]) for tool in tools}
    return isinstance(value, dict) and value.get("name") in known and set(value.get("arguments", {})) == known[value["name"]]


def parsed(produced: str):
    try:
        return json.loads(produced)
    except ValueError:
        return None


def is_chinese(produced: str) -> bool:
    return re.search("[\u4e00-\u9fff]", produced) is not None


def report(parameters, tokenizer, held: list, temperature: float):
    answers = answer(parameters, tokenizer, [text.render(messages, tools, True) for _, _, messages, tools, _ in held], temperature)
    rows = [(*case, *got) for case, got in zip(held, answers)]

    def share(name, values):
        print(f"  {name:34} {100 * sum(values) / len(values):5.1f} %  of {len(values)}")

    print(f"temperature {temperature}")
    share("stops by itself", [row[6] for row in rows])
    share("language of the question (facts)", [is_chinese(row[5]) == row[1] for row in rows if row[0] == "fact"])
    share("exact answer (facts)", [row[5] == row[4] for row in rows if row[0] == "fact"])
    share("exact repetition", [row[5] == row[4] for row in rows if row[0] == "repeat"])
    share("valid tool call", [is_call(row[5], row[3]) for row in rows if row[0] == "tool"])
    share("exact tool call", [row[5] == row[4] for row in rows if row[0] == "tool"])
    share("valid JSON object", [isinstance(parsed(row[5]), dict) for row in rows if row[0] == "json"])
    share("exact JSON object", [row[5] == row[4] for row in rows if row[0] == "json"])
    for row in [row for row in rows if row[5] != row[4]][:12]:
        print("    asked", json.dumps(row[2][0]["content"], ensure_ascii=False), "got", json.dumps(row[5], ensure_ascii=False), "not", json.dumps(row[4], ensure_ascii=False))


def main():
    parameters, tokenizer = read(sys.argv[1]), text.load_tokenizer()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 320
    for temperature in (0.0, 0.8):
        report(parameters, tokenizer, cases(count), temperature)


if __name__ == "__main__":
    main()
