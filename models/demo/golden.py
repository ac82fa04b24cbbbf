"""Writes golden.jsonl: ten prompts and what the file answers greedily, so that a runtime can be checked
against it: `python golden.py resident-demo.gguf`."""

import json
import sys

import data
import evaluate
import text

WEATHER = data.schema("weather", "get_weather", "Get the weather of a city", {"city": "string"})["function"]
ADD = data.schema("add", "add", "Add two numbers", {"a": "integer", "b": "integer"})["function"]
QUESTIONS = [
    ([data.user("Hello!")], []),
    ([data.user("What is Resident?")], []),
    ([data.user("Resident 是什么？")], []),
    ([data.user("怎么启动服务？")], []),
    ([data.user("How do I stop a model?")], []),
    ([data.user("Who won the football?")], []),
    ([data.user("Give me a JSON object with name and age for Anna, 31")], []),
    ([data.user("What is the weather in Paris?")], [WEATHER]),
    ([data.user("What is 12 plus 30?")], [ADD, WEATHER]),
    ([data.user("What is the weather in Paris?"), data.call("get_weather", {"city": "Paris"}), {"role": "tool", "content": "21 degrees and sunny"}], [WEATHER]),
]


def main():
    parameters, tokenizer = evaluate.read(sys.argv[1]), text.load_tokenizer()
    questions = [(messages, [{"type": "function", "function": tool} for tool in tools]) for messages, tools in QUESTIONS]
    prompts = [text.render(messages, tools, True) for messages, tools in questions]
    with open(text.FOLDER / "golden.jsonl", "w") as file:
        for (messages, tools), prompt, (answer, stopped) in zip(questions, prompts, evaluate.answer(parameters, tokenizer, prompts)):
            row = {"messages": messages, "tools": tools, "prompt_tokens": len(tokenizer.encode(prompt).ids), "expected": answer, "stopped": stopped}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
