"""From conversations to token ids: the chat template rendered as the worker renders it, and the tokenizer
(byte-level BPE, split like llama.cpp's `smollm`: digits alone, then GPT-2's pattern)."""

from pathlib import Path

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

FOLDER = Path(__file__).parent
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAG_TOKENS = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]

_template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string((FOLDER / "chat_template.jinja").read_text())


def render(messages: list, tools: list, prompt: bool = False) -> str:
    return _template.render(messages=messages, tools=tools, add_generation_prompt=prompt)


def train_tokenizer(texts, size: int) -> Tokenizer:
    """Learns merges under a finer split than is used afterwards: a capital never joins the space before it,
    and names with _ or capitals fall into words. So ` Paris` and `"Paris` end in the same tokens, which makes
    copying into JSON easy; splitting coarser later is harmless because such merges do not exist."""
    tokenizer = Tokenizer(models.BPE())
    finer = [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Split(Regex(r"[A-Z][a-z]*|_| (?=[A-Z\"{])|[\u4e00-\u9fff]{1,2}"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(finer)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=CONTROL_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    reserved = len(TAG_TOKENS)
    trainer.vocab_size = size - reserved
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAG_TOKENS])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([finer[0], finer[2]])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load_tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
