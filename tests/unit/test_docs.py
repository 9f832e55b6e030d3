"""The README and docs/: links resolve, commands parse, config words compose, code prints what the page says."""

import contextlib
import functools
import io
import itertools
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from deeptalk.benchmark import BenchmarkConfig
from deeptalk.cli import app
from deeptalk.config import compose, find_preset
from deeptalk.corpus import CorpusConfig
from deeptalk.corpus.importers import importer_named
from deeptalk.errors import UserError
from deeptalk.stages import STAGES

ROOT = Path(__file__).parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.is_file()]
SCHEMAS = {name: stage.config for name, stage in STAGES.items()}
SCHEMAS |= {"corpus": CorpusConfig, "benchmark": BenchmarkConfig}
SECTIONS = {"TH-VQVAE": "thvqvae", "DEE": "dee", "Talker": "talker", "EmoTalk": "emotalk", "Data": "corpus"}
"""Sections of docs/deviations.md whose words belong to one stage."""
WORD = re.compile(r"(?!key=value)[a-z_][a-z_0-9.]*=[^\s=`\"]+")
NEEDS_A_RUN = ("runs/", '"corpus"')
"""Code that stands on what the commands of docs/training.md leave behind; tried by hand."""


def split_fences(text):
    """(language, code) of every fenced block in order, and the text outside them."""
    blocks, outside, inside = [], [], None
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            if inside is None:
                inside = (line[3:].strip(), [])
            else:
                blocks.append((inside[0], "".join(inside[1])))
                inside = None
        else:
            (outside if inside is None else inside[1]).append(line)
    assert inside is None, "a fenced block is not closed"
    return blocks, "".join(outside)


def code_in(text, *languages):
    return [code for language, code in split_fences(text)[0] if language in languages]


def without_fences(text):
    return split_fences(text)[1]


def commands_in(text):
    """(command line, whether it must be complete): blocks and indented lines must, those in a sentence may be cut."""
    lines = [line.strip() for code in code_in(text, "", "sh", "bash", "console") for line in code.splitlines()]
    lines += re.findall(r"^    (deeptalk .+)$", without_fences(text), re.MULTILINE)
    complete = [(line.removeprefix("$ "), True) for line in lines]
    inline = [(line, False) for line in re.findall(r"`(deeptalk [^`\n]+)`", without_fences(text))]
    return [(line, whole) for line, whole in (*complete, *inline) if line.startswith("deeptalk ")]


def anchors(path):
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@functools.cache
def composes(name, words):
    for preset in ("tiny", "base"):  # some words, such as hours=2, make sense with one of them only
        with contextlib.suppress(UserError):
            compose(SCHEMAS[name], [find_preset(name, preset)], words)
            return True
    return False


def by_page(find):
    """Parameters (page, found) of all pages, named so that a failure says where it is."""
    found = [(page, one) for page in PAGES for one in find(page)]
    return [pytest.param(page, one, id=f"{page.name}-{number}") for number, (page, one) in enumerate(found)]


def text_of(page):
    return page.read_text(encoding="utf-8")


def test_there_are_pages_links_commands_and_words():
    assert len(PAGES) >= 6
    assert sum(len(commands_in(text_of(page))) for page in PAGES) >= 8
    assert len(deviation_words()) >= 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_internal_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}, which does not exist"
        assert ROOT in (linked, *linked.parents), f"{page.name} links to {target}, outside the project"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{page.name} links to {target}; {linked.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    for name in re.findall(r"`((?:deeptalk|dee|thvqvae|configs|scripts|benchmarks)/[\w/.]+\.\w+)`", text_of(page)):
        assert (ROOT / name).is_file(), f"{page.name} names {name}, which does not exist"


@pytest.mark.parametrize(("page", "command_line"), by_page(lambda page: commands_in(text_of(page))))
def test_commands_parse_and_their_words_compose(page, command_line):
    line, must_be_complete = command_line
    words = shlex.split(line.split(" #")[0])[1:]
    command, names = get_command(app), []
    while hasattr(command, "commands") and words:
        names.append(words.pop(0))
        assert names[-1] in command.commands, f"{line!r}: deeptalk has no command {names[-1]!r}"
        command = command.commands[names[-1]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = {word.split("=")[0] for word in words if word.startswith("-")}
    assert given <= options, f"{line!r}: {' '.join(names)} has no {', '.join(given - options)}"
    if not must_be_complete or "--help" in words:
        return
    parameters = command.make_context(" ".join(names), words).params
    if names == ["corpus", "import"]:
        compose(importer_named(str(parameters["kind"])).options, [], parameters["words"] or [])
    elif parameters.get("words"):
        schema = {"train": str(parameters.get("stage"))}.get(names[0], names[0])
        compose(SCHEMAS[schema], [find_preset(schema, str(parameters["config"]))], parameters["words"])


def deviation_words():
    """(section, code span of key=value words) of docs/deviations.md."""
    found = []
    for part in re.split(r"^## ", text_of(ROOT / "docs" / "deviations.md"), flags=re.MULTILINE)[1:]:
        section = part.splitlines()[0]
        spans = [span for span in re.findall(r"`([^`]+)`", part) if all(map(WORD.fullmatch, span.split()))]
        found += [(section, span) for span in spans]
    return found


@pytest.mark.parametrize(("section", "span"), deviation_words())
def test_words_of_deviations_compose_for_their_stage(section, span):
    if section in SECTIONS:
        compose(SCHEMAS[SECTIONS[section]], [find_preset(SECTIONS[section], "tiny")], span.split())
    else:
        assert any(composes(name, tuple(span.split())) for name in SCHEMAS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_config_words_in_sentences_compose(page):
    for span in re.findall(r"`([^`\n]+)`", without_fences(text_of(page))):
        words = tuple(span.split())
        if all(map(WORD.fullmatch, words)):
            assert any(composes(name, words) for name in SCHEMAS), f"{page.name}: no config takes {span}"


def printed_blocks(page):
    """(code, what it prints) where a python block is followed by a text block."""
    blocks = split_fences(text_of(page))[0]
    pairs = [(a[1], b[1]) for a, b in itertools.pairwise(blocks) if (a[0], b[0]) == ("python", "text")]
    return [(code, printed) for code, printed in pairs if not any(part in code for part in NEEDS_A_RUN)]


@pytest.mark.parametrize(("page", "block"), by_page(printed_blocks))
def test_code_prints_what_the_page_says(page, block, tmp_path, monkeypatch):
    code, expected = block
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
    assert output.getvalue() == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_compiles(page):
    for code in code_in(text_of(page), "python"):
        compile(code, page.name, "exec")
