"""Renders chat templates as Hugging Face's tokenizers do, for templates.rs to compare with.

Standard input: [{"name": ..., "source": ..., "cases": [[{variable: value}]]}]; a case is a list of
variables to try in turn until one renders, with all that the system says.
Standard output: {name: [{"text": ...} or {"raises": ...}]}, one entry per case: the first text, or
why the first try was refused.
"""

import json
import sys
from datetime import datetime

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(form):
    return datetime.now().strftime(form)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    return made


def with_empty_texts(variables):
    messages = [
        {**message, "content": ""} if message["content"] is None else message
        for message in variables["messages"]
    ]
    return {**variables, "messages": messages}


def with_text_arguments(variables):
    def text(call):
        function = call["function"]
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        return {**call, "function": {**function, "arguments": arguments}}

    messages = [
        {**message, "tool_calls": [text(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in variables["messages"]
    ]
    return {**variables, "messages": messages}


def render(template, variables):
    # A message without text would stand in the prompt as the word "None", which no model was trained on,
    # and some templates look for something in the text: such are given an empty one. Some add a call's
    # arguments to a text.
    texts = with_text_arguments(variables)
    ways = [variables, with_empty_texts(variables), texts, with_empty_texts(texts)]
    missing = any(message["content"] is None for message in variables["messages"])
    answers = []
    for way in ways:
        try:
            text = template.render(**way)
            if not (missing and "None" in text):
                return {"text": text}
            answers.append({"text": text})
        except Exception as error:  # whatever a template does wrong counts as a refusal
            answers.append({"raises": f"{type(error).__name__}: {error}"})
    return answers[0]


def first_text(template, tries):
    answers = [render(template, variables) for variables in tries]
    # Some templates trim what is said.
    said = [message for message in tries[0]["messages"] if message["role"] == "system"]
    system = [message["content"].strip() for message in said]
    texts = [answer for answer in answers if "text" in answer]
    whole = [answer for answer in texts if all(text in answer["text"] for text in system)]
    return (whole or texts or answers)[0]


def main():
    made = environment()
    answers = {}
    for template in json.load(sys.stdin):
        compiled = made.from_string(template["source"])
        answers[template["name"]] = [first_text(compiled, case) for case in template["cases"]]
    json.dump(answers, sys.stdout)


main()
