"""Brings pages and pictures from outside ``docs/`` into the site; the README is its first page.

A notebook becomes a page too: its text and its code, and a link to the notebook itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
"""Page of the repository -> page of the site."""

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<target>[^)#\s]+)(?P<part>#[^)\s]*)?\)")
PICTURES = (".png", ".svg")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the repository, and every picture that a page shows."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_inside(ROOT / name)))
    for path in NOTEBOOKS:
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_as_page(path)))
    sources = [ROOT / name for name in PAGES]
    for source in (*sources, *(ROOT / "docs").glob("*.md")):
        for link in LINK.finditer(source.read_text()):
            picture = (source.parent / link["target"]).resolve()
            name = picture.relative_to(ROOT).as_posix() if picture.is_relative_to(ROOT) else ""
            if picture.suffix in PICTURES and name not in files.src_uris:
                files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links of a page of ``docs/`` to where their targets are in the site."""
    source = ROOT / "docs" / page.file.src_uri
    return _inside(source) if source.is_file() else markdown


def _inside(source: Path) -> str:
    """The text of a page, with links that work in the site; what is not in it is no link."""

    def moved(match: re.Match[str]) -> str:
        target = (source.parent / match["target"]).resolve()
        name = target.relative_to(ROOT).as_posix()
        if target in NOTEBOOKS:
            return f"[{match['text']}](notebooks/{target.stem}.md)"
        if name in PAGES or target.parent == ROOT / "docs" or target.suffix in PICTURES:
            place = PAGES.get(name, name.removeprefix("docs/"))
            return f"[{match['text']}]({place}{match['part'] or ''})"
        return match["text"]

    return LINK.sub(moved, source.read_text())


def _as_page(path: Path) -> str:
    """The cells of a notebook as Markdown, in order."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    title, *rest = parts
    about = f"The notebook itself: [{path.name}]({path.name}). `make notebooks` runs it."
    return "\n\n".join([title, about, *rest]) + "\n"
