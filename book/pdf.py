"""The book on paper: one document of the built pages, printed by Chromium.

    python book/pdf.py --site _build/html --output _build/robustkit.pdf

Pages come in the order of the table of contents, figures in their light form, solutions open. Code
that a page folds and the reference of functions are left out: both are on the site. The contents
carry page numbers, for which the book is printed twice.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    # Formulas are typeset by a script, which gets this many milliseconds of the page's own time.
    "--virtual-time-budget=120000",
)
LEFT_OUT = ("book/api/",)
DROPPED = "a.headerlink, button, script, noscript, details.hide, .figure-foot, .only-dark"


def pages_of(contents: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each printed page with the caption of the part that it opens, or an empty text."""
    yield contents["root"], ""
    for part in contents["parts"]:
        caption = part["caption"]
        for chapter in part["chapters"]:
            if not chapter["file"].startswith(LEFT_OUT):
                yield chapter["file"], caption
                caption = ""


def assemble(site: Path, contents: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    """Return the whole book as one HTML document that lies in the folder `site`.

    `numbers` are the page numbers of its sections, by identifier, as far as they are known.
    """
    listed = list(pages_of(contents))
    names = {name: slug(name) for name, _ in listed}
    body, lines = [], []
    head = BeautifulSoup((site / f"{listed[0][0]}.html").read_text(encoding="utf-8"), "html.parser")
    for name, caption in listed:
        article = printed(site, name, names)
        title = article.find("h1")
        text = title.get_text(" ", strip=True) if isinstance(title, Tag) else name
        if caption:
            lines.append(f'<p class="part">{escape(caption)}</p>')
        lines.append(_line(text, names[name], numbers))
        for section in article.select("section > section"):
            heading = section.find("h2", recursive=False)
            if isinstance(heading, Tag) and section.get("id"):
                lines.append(_line(heading.get_text(" ", strip=True), section["id"], numbers, 2))
        body.append(f'<div class="chapter" id="{names[name]}">{article.decode_contents()}</div>')
    folder = Path(listed[0][0]).parent
    styles = [
        f'<link rel="stylesheet" href="{escape(_moved(str(link["href"]), folder, {}))}"/>'
        for link in head.select("link[rel=stylesheet]")
    ]
    scripts = [str(one) for one in head.select("script") if "window.MathJax" in one.get_text()]
    scripts += [
        f'<script defer src="{escape(_moved(str(one["src"]), folder, {}))}"></script>'
        for one in head.select("script[src*=mathjax]")
    ]
    style = (ROOT / "book" / "print.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light"><head>'
        '<meta charset="utf-8"/><title>robustkit</title>'
        f"{''.join(styles)}<style>{style}</style>{''.join(scripts)}</head>"
        f'<body class="bd-content print-book">{cover()}'
        f'<div class="book-contents"><h1>Contents</h1>{"".join(lines)}</div>'
        f"{''.join(body)}</body></html>\n"
    )


def cover() -> str:
    """Return the title page."""
    sys.path.insert(0, str(ROOT))
    from robustkit import __version__, provenance

    commit = str(provenance.commit().get("commit", ""))[:12]
    made = f"Version {__version__}" + (f", commit {commit}" if commit else "")
    return (
        '<div class="cover"><p class="title">robustkit</p>'
        '<p class="subtitle">How image classifiers break, and how to make them hold</p>'
        "<p>The robustkit authors</p>"
        f'<p class="made">{escape(made)}. Apache-2.0. The site has what paper lacks: folded code, '
        "the reference of functions, the records, and pictures to play with.</p></div>"
    )


def printed(site: Path, name: str, names: Mapping[str, str]) -> Tag:
    """Return the article of a page as it is printed: its links lead within the book, or outside."""
    page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = page.select_one("article")
    if article is None:
        raise SystemExit(f"{site / name}.html is not a page of the book; build it first.")
    for dropped in article.select(DROPPED):
        dropped.decompose()
    for box in article.select("details"):
        box["open"] = ""
    for box in article.select(".dropdown"):
        box["class"] = [one for one in box.get_attribute_list("class") if one != "dropdown"]
    folder, prefix = Path(name).parent, names[name]
    for tag in article.select("[id]"):
        if tag.find("style", recursive=False):
            # Its own style goes by its identifier, which is one of its kind.
            continue
        tag["id"] = f"{prefix}--{tag['id']}"
    for image in article.select("img[src]"):
        image["src"] = _moved(str(image["src"]), folder, {})
        image.attrs.pop("loading", None)
    for link in article.select("a[href]"):
        address = str(link["href"])
        if urlsplit(address).scheme:
            continue
        here = f"#{prefix}--{address[1:]}" if address.startswith("#") else ""
        target = here or _moved(address, folder, names)
        if target.startswith("#"):
            link["href"] = target
        else:
            link.unwrap()
    return article


def slug(name: str) -> str:
    """Return the identifier of a page in the book."""
    return name.replace("/", "-")


def page_numbers(content: bytes) -> dict[str, int]:
    """Return the page of each named place of a PDF as Chromium writes it, counted from one."""
    objects = {
        int(number): body
        for number, body in re.findall(rb"(?m)^(\d+) 0 obj\s(.*?)\sendobj", content, re.DOTALL)
    }

    def leaves(number: int) -> Iterator[int]:
        kids = re.search(rb"/Kids\s*\[(.*?)\]", objects[number], re.DOTALL)
        if kids is None:
            yield number
            return
        for kid in re.findall(rb"(\d+) 0 R", kids[1]):
            yield from leaves(int(kid))

    tops = [
        number
        for number, body in objects.items()
        if re.search(rb"/Type\s*/Pages\b", body) and b"/Parent" not in body
    ]
    order = {page: place for top in tops for place, page in enumerate(leaves(top), 1)}
    found = {}
    for body in objects.values():
        for name, page in re.findall(rb"[/(]([\w.~%-]+?)\)?\s*\[(\d+) 0 R\s*/XYZ", body):
            if int(page) in order:
                found[unquote(name.decode())] = order[int(page)]
    return found


def printed_by(browser: str, document: Path, output: Path) -> bytes:
    """Let a browser print a document, and return the PDF."""
    with TemporaryDirectory() as profile:
        options = [*OPTIONS, f"--user-data-dir={profile}", f"--print-to-pdf={output}"]
        done = subprocess.run(
            [browser, *options, document.as_uri()], capture_output=True, text=True, check=False
        )
    if done.returncode or not output.exists():
        raise SystemExit(f"{browser} did not print the book: {done.stderr.strip()[-400:]}")
    return output.read_bytes()


def main() -> None:
    """Print the book of a site."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "robustkit.pdf")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        parser.error("no Chromium on this machine: install the system package chromium")
    site, output = options.site.resolve(), options.output.resolve()
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    document, numbers = site / "print.html", dict[str, int]()
    try:
        for _ in range(2):
            document.write_text(assemble(site, contents, numbers), encoding="utf-8")
            numbers = page_numbers(printed_by(browser, document, output))
    finally:
        document.unlink(missing_ok=True)
    last = max(numbers.values(), default=0)
    print(f"{output}: {output.stat().st_size / 2**20:.1f} MiB, {last} pages")


def _line(text: str, target: str, numbers: Mapping[str, int], level: int = 1) -> str:
    number = numbers.get(target, "")
    return (
        f'<p class="level{level}"><a href="#{escape(target)}">{escape(text)}</a>'
        f'<span class="dots"></span><span>{number}</span></p>'
    )


def _moved(address: str, folder: Path, names: Mapping[str, str]) -> str:
    """Return an address of a page in `folder` as one of the book, or from the root of the site."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return address
    path: list[str] = []
    for step in [*folder.parts, *parts.path.split("/")]:
        if step == "..":
            path.pop()
        elif step not in ("", "."):
            path.append(step)
    name = "/".join(path).removesuffix(".html")
    if name in names:
        return f"#{names[name]}--{parts.fragment}" if parts.fragment else f"#{names[name]}"
    return "/".join(path)


if __name__ == "__main__":
    main()
