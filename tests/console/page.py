"""A page as a browser reads it: a tree of elements, held to what every page of the console must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Element]:
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child

    @property
    def text(self) -> str:
        said = "".join(child if isinstance(child, str) else child.text for child in self.children)
        return said if self.tag == "pre" else " ".join(said.split())

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            each
            for each in self
            if each.tag == tag and all(each.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (only,) = self.all(tag, **attributes)
        return only

    def by_id(self, id_: str) -> Element:
        (only,) = [each for each in self if each.attributes.get("id") == id_]
        return only

    def rows(self) -> list[list[str]]:
        """The cells of all body rows of the only table."""
        body = self.one("table").one("tbody")
        return [[cell.text for cell in row if cell.tag in {"td", "th"}] for row in body.all("tr")]

    def facts(self) -> dict[str, str]:
        return {dt.text: dd.text for dt, dd in zip(self.all("dt"), self.all("dd"), strict=True)}

    def fields(self) -> dict[str, str]:
        """What a form sends if nothing is typed."""
        return {each.attributes["name"] or "": each.attributes.get("value") or "" for each in self.all("input")}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("#page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says something twice"
        made = Element(tag, dict(attrs))
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(html: str) -> Element:
    """The page, if it is one that a browser, a screen reader and our own policy take as it is meant."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    (page,) = reader.open
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("head").one("title").text.endswith("· Laurels")
    assert len(page.all("h1")) == 1
    assert all(script.attributes.get("src") and not script.text for script in page.all("script"))
    assert not page.all("style")
    ids = [each.attributes["id"] for each in page if "id" in each.attributes]
    assert len(ids) == len(set(ids)), f"an id is there twice: {ids}"
    labelled = {label.attributes.get("for") for label in page.all("label")}
    for label in page.all("label"):
        labelled |= {id(each) for each in label}
    for each in page:
        assert not any(name == "style" or name.startswith("on") for name in each.attributes), each
        for name in ("href", "src", "action"):
            address = each.attributes.get(name)
            assert address is None or address.startswith(("/console", "#")), f"{name} leads elsewhere: {address}"
        if each.tag in {"input", "select"} and each.attributes.get("type") != "hidden":
            known = {each.attributes.get("id"), id(each)} & labelled - {None}
            assert known or "aria-label" in each.attributes, f"an unlabelled field: {each}"
        if each.tag == "table":
            assert all("scope" in head.attributes for head in each.all("th"))
    return page
