"""Renders chat templates as Hugging Face's tokenizers do, for templates.rs to compare with.

Standard input: [{"name": ..., "source": ..., "cases": [{variable: value}]}].
Standard output: {name: [{"text": ...} or {"raises": ...}]}, one entry per case.
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


def render(template, case):
    try:
        return {"text": template.render(**case)}
    except Exception as error:  # whatever a template does wrong counts as a refusal
        return {"raises": f"{type(error).__name__}: {error}"}


def main():
    job = json.load(sys.stdin)
    made = environment()
    answers = {}
    for template in job:
        compiled = made.from_string(template["source"])
        answers[template["name"]] = [render(compiled, case) for case in template["cases"]]
    json.dump(answers, sys.stdout)


main()
