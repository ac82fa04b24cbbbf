"""Trains the demo model on generated conversations: `python train.py --seconds 3600 --out checkpoint.npz`.
Writes tokenizer.json beside itself. Stops by the clock; the learning rate falls to zero by then."""

import argparse
import re
import time

import numpy as np
import torch
from torch.nn import functional

import data
import model
import text

SEED = 20261121
ROW_TOKENS = 256
ROWS = 12
# Share of "repeat after me" while copying forms, and afterwards. Without such a beginning the facts are
# learnt first and copying, which calls and objects are made of, hardly at all.
REPETITIONS = (0.6, 0.1)
COPYING_SHARE = 0.25
LEARNING_RATE = 4e-3
TAGS = re.compile("|".join(map(re.escape, text.CONTROL_TOKENS + text.TAG_TOKENS)))


def make_tokenizer():
    """Trains and saves the tokenizer on a sample; tags are cut out, since they are tokens already."""
    sample = [text.render(item["messages"], item["tools"]) for item in data.conversations(SEED + 1, 20_000, REPETITIONS[1])]
    tokenizer = text.train_tokenizer((piece for whole in sample for piece in TAGS.split(whole)), model.VOCABULARY)
    tokenizer.save(str(text.FOLDER / "tokenizer.json"))
    return tokenizer


def answer_mask(ids: np.ndarray, start: np.ndarray, end: int) -> np.ndarray:
    """1 where a token belongs to an assistant's turn, its <|im_end|> included."""
    mask, inside, width = np.zeros(len(ids), bool), False, len(start)
    for index, token in enumerate(ids):
        mask[index] = inside
        if inside and token == end:
            inside = False
        elif not inside and index + 1 >= width and np.array_equal(ids[index + 1 - width : index + 1], start):
            inside = True
    return mask


def batches(tokenizer, stage: int, repetitions):
    """Endless batches: conversations packed into rows, told apart by segment, positions from zero.
    `repetitions()` is asked for the share of repetitions whenever conversations run out."""
    start = np.array(tokenizer.encode("<|im_start|>assistant\n").ids)
    end = tokenizer.token_to_id("<|im_end|>")
    seed, pending = SEED + 1_000_000 * (stage + 1), []
    shape = (ROWS, ROW_TOKENS + 1)
    while True:
        tokens, segments = np.zeros(shape, np.int64), np.full(shape, -1)
        positions, wanted = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for row in range(ROWS):
            at, segment = 0, 0
            while True:
                if not pending:
                    seed += 1
                    chats = data.conversations(seed, 500, repetitions())
                    rendered = [text.render(item["messages"], item["tools"]) for item in chats]
                    pending = [np.array(item.ids) for item in tokenizer.encode_batch(rendered)]
                ids = pending[-1][: ROW_TOKENS + 1]
                if at + len(ids) > ROW_TOKENS + 1:
                    break
                pending.pop()
                span = slice(at, at + len(ids))
                tokens[row, span], segments[row, span] = ids, segment
                positions[row, span], wanted[row, span] = np.arange(len(ids)), answer_mask(ids, start, end)
                at, segment = at + len(ids), segment + 1
        yield [torch.from_numpy(part) for part in (tokens, segments, positions, wanted)]


def loss(parameters, tokens, segments, positions, wanted):
    """Cross entropy of the answers only: prompts are random names, and nobody has to guess those."""
    length = tokens.shape[1] - 1
    segments = segments[:, :-1]
    visible = torch.tril(torch.ones(length, length, dtype=torch.bool)) & (segments[:, :, None] == segments[:, None, :])
    mask = torch.zeros(visible.shape, dtype=torch.bfloat16).masked_fill(~visible, float("-inf"))[:, None]
    places = wanted[:, 1:].nonzero(as_tuple=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.forward(parameters, tokens[:, :-1], positions[:, :-1], mask, places)
    return functional.cross_entropy(logits.float(), tokens[:, 1:][places])


def save(path, parameters):
    np.savez(path, **{name: value.detach().numpy() for name, value in parameters.items()})


def load(path) -> dict:
    return {name: torch.from_numpy(value) for name, value in np.load(path).items()}


def optimizers(parameters) -> list:
    """Muon orthogonalises the updates of the matrices and needs about half the tokens AdamW does here;
    embeddings and norms are not its kind."""
    matrices = [value for name, value in parameters.items() if value.ndim == 2 and name != "token_embd"]
    others = [value for name, value in parameters.items() if value.ndim == 1 or name == "token_embd"]
    muon = torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.Adam(others, lr=LEARNING_RATE, betas=(0.9, 0.95))]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3600)
    options.add_argument("--out", default="checkpoint.npz")
    options.add_argument("--resume", help="go on from this checkpoint, with the tokenizer that is there")
    options.add_argument("--stage", type=int, default=0, help="another stage draws other conversations")
    options.add_argument("--threads", type=int, help="of the processor, all cores by default")
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    tokenizer = text.load_tokenizer() if arguments.resume else make_tokenizer()
    parameters = load(arguments.resume) if arguments.resume else model.initial_parameters(SEED)
    for value in parameters.values():
        value.requires_grad_()
    optimizing = optimizers(parameters)
    # Fused by the compiler, which takes two minutes once, a step takes two thirds of its time.
    measured = torch.compile(loss)
    measured(parameters, *next(batches(tokenizer, arguments.stage, lambda: 0.5))).backward()
    for optimizer in optimizing:
        optimizer.zero_grad()
    began, count, recent = time.time(), 0, []

    def progress():
        return (time.time() - began) / arguments.seconds

    source = batches(tokenizer, arguments.stage, lambda: REPETITIONS[progress() > COPYING_SHARE or arguments.stage > 0])
    while (done := progress()) < 1.0:
        rate = LEARNING_RATE * min(1.0, (count + 1) / 40) * min(1.0, (1.0 - done) / 0.6)
        value = measured(parameters, *next(source))
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        for optimizer in optimizing:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        count, recent = count + 1, [*recent[-49:], value.item()]
        if count % 50 == 0:
            print(f"step {count}  loss {np.mean(recent):.4f}  {time.time() - began:.0f} s", flush=True)
            if count % 500 == 0:
                save(arguments.out, parameters)
    save(arguments.out, parameters)


if __name__ == "__main__":
    main()
