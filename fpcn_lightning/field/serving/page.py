"""The page of `fpcn serve`, made with NiceGUI."""

from collections.abc import Callable
from pathlib import Path

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments
from pydantic import BaseModel, Field, ValidationError

from fpcn_lightning.data.names import class_problem
from fpcn_lightning.field.results import csv_line
from fpcn_lightning.field.serving.about import About
from fpcn_lightning.field.serving.pictures import MAX_PICTURES, PictureResult, refused
from fpcn_lightning.field.serving.verdict import UNFAMILIAR_SHARE, State
from fpcn_lightning.field.untrusted import MAX_TEXT
from fpcn_lightning.html_pages import templates

_FOLDER = Path(__file__).parent
CSS = (_FOLDER / "page.css").read_text("utf-8")
_MAX_CORRECTIONS = 10_000
_STATES = list(State)
_TEMPLATES = templates("fpcn_lightning.field.serving")

SortKey = Callable[[PictureResult], tuple[object, ...]]
COLUMNS: dict[str, SortKey] = {
    "Photograph": lambda result: (result.name.lower(),),
    "State": lambda result: (_STATES.index(result.verdict.state),),
    "Prediction": lambda result: (not result.top, result.top[0].name.lower() if result.top else ""),
    "Probability": lambda result: (result.top[0].probability if result.top else -1.0,),
}
"""Columns of the table of results, and what each is sorted by."""


class UploadPlace(BaseModel):
    """Which photograph of which batch of an open page an upload is. A later batch replaces the one before."""

    number: int = Field(ge=1, le=2**31)
    total: int = Field(ge=1, le=MAX_PICTURES)
    skipped: int = Field(ge=0, le=2**31)
    index: int = Field(ge=0, lt=MAX_PICTURES)
    name: str = Field(max_length=1000)


class RefusedUpload(UploadPlace):
    """A photograph that the browser did not send or the server did not take."""

    reason: str = Field(max_length=1000)


class DropZone(Element, component="drop_zone.js"):
    """Sends the photographs that are dropped on it or chosen.

    Args:
        url: receives each file as the body of a POST request, with `UploadPlace` as the query.
        max_bytes: of a file; larger ones are not sent.
        max_files: of a batch.
    """

    def __init__(self, url: str, max_bytes: int, max_files: int) -> None:
        super().__init__()
        self.props["url"] = url
        self.props["max_bytes"] = max_bytes
        self.props["max_files"] = max_files


def rendered(macro: str, *arguments: object) -> str:
    """HTML from a macro of `page.html.jinja`, which escapes everything that it is passed."""
    return str(getattr(_TEMPLATES.get_template("page.html.jinja").module, macro)(*arguments))


class Page:
    """The elements and the results of one open page; must be created in NiceGUI's context of a client.

    Args:
        facts: about the bundle.
        csv: the results as a CSV file.
        url: where the page uploads to.
        max_bytes: of a file.
    """

    def __init__(self, facts: About, csv: Callable[[list[PictureResult]], str], url: str, max_bytes: int) -> None:
        self._csv = csv
        self._batch = 0
        self._total = 0
        self._skipped = 0
        self._results: dict[int, PictureResult] = {}
        self._corrections: dict[tuple[int, int], tuple[str, str]] = {}
        self._sorted_by: tuple[str, bool] | None = None
        self._headers: dict[str, Element] = {}
        ui.add_css(CSS)
        ui.add_body_html(rendered("class_list", facts.classes))
        with Element("main").classes("fpcn"):
            _html(rendered("about", facts))
            DropZone(url, max_bytes, MAX_PICTURES).on("refused", self._on_refused)
            with Element("section") as self._shown:
                self._make_results()
            _html(rendered("notes", facts))
        self._shown.set_visibility(False)

    def add(self, place: UploadPlace, result: PictureResult) -> None:
        """Show the result of one photograph; that of an earlier batch, or a second one for a place, is ignored."""
        if place.number < self._batch:
            return
        if place.number > self._batch:
            self._begin(place)
        if place.index in self._results:
            return
        before = sum(index < place.index for index in self._results)
        self._results[place.index] = result
        with self._articles:
            self._make_article(place, result).move(target_index=before)
        self._refresh()

    def _make_results(self) -> None:
        _text("Results", "h2")
        self._summary = _html("")
        with Element("table"):
            with Element("thead"), Element("tr"):
                for column in COLUMNS:
                    with Element("th") as header:
                        header.props["scope"] = "col"
                        _text(column, "button").on("click", lambda column=column: self._sort(column))
                    self._headers[column] = header
            self._rows = _html("", "tbody")
        with Element("div").classes("buttons"):
            _text("Download results (CSV)", "button").on("click", self._download_results)
            self._download = _text("", "button").on("click", self._download_corrections)
        self._articles = Element("div")
        self._refresh_corrections()

    def _begin(self, place: UploadPlace) -> None:
        self._batch, self._total, self._skipped = place.number, place.total, place.skipped
        self._results.clear()
        self._articles.clear()
        self._shown.set_visibility(True)

    def _refresh(self) -> None:
        results = list(self._results.values())
        counts = {state: sum(result.verdict.state == state for result in results) for state in State}
        read = len(results) - counts[State.UNREADABLE]
        unfamiliar = counts[State.UNKNOWN] > 0 and counts[State.UNKNOWN] >= UNFAMILIAR_SHARE * read
        self._summary.set_content(
            rendered("summary", counts, len(results), self._skipped, MAX_PICTURES, unfamiliar and self._is_complete())
        )
        self._refresh_rows()

    def _is_complete(self) -> bool:
        return len(self._results) >= self._total

    def _refresh_rows(self) -> None:
        rows = sorted(self._results.items())
        if self._sorted_by is not None:
            column, descending = self._sorted_by
            rows.sort(key=lambda item: COLUMNS[column](item[1]), reverse=descending)
        self._rows.set_content(rendered("rows", rows))

    def _sort(self, column: str) -> None:
        descending = self._sorted_by == (column, False)
        self._sorted_by = column, descending
        for name, header in self._headers.items():
            direction = "descending" if descending else "ascending"
            header.props.set_optional("aria-sort", direction if name == column else None)
        self._refresh_rows()

    def _make_article(self, place: UploadPlace, result: PictureResult) -> Element:
        with Element("article").classes(str(result.verdict.state)) as article:
            _html(rendered("article", result, place.index + 1))
            if result.verdict.state != State.UNREADABLE:
                with Element("div").classes("correction"):
                    with Element("label"):
                        _text("Wrong, it is", "span")
                        field = Element("input")
                    noted = _text("", "span")
                    noted.props["role"] = "status"
                field.props.update(list="fpcn-classes", autocomplete="off", maxlength=MAX_TEXT, placeholder="class")

                def correct(event: GenericEventArguments) -> None:
                    noted.set_content(rendered("text", self._correct(place, result.name, event.args)))

                field.on("change", correct, js_handler="(event) => emit(event.target.value)")
        return article

    def _correct(self, place: UploadPlace, name: str, label: object) -> str:
        """Keep, replace or (for an empty label) remove a correction; returns what to tell."""
        key = place.number, place.index
        label = label.strip() if isinstance(label, str) else ""
        if not label:
            self._corrections.pop(key, None)
            told = ""
        elif class_problem(label) is not None:
            told = "This is not a class name."
        elif len(self._corrections) >= _MAX_CORRECTIONS:
            told = "Download the corrections first."
        else:
            self._corrections[key] = name, label
            told = f"Noted: {label}"
        self._refresh_corrections()
        return told

    def _refresh_corrections(self) -> None:
        count = len(self._corrections)
        self._download.set_content(rendered("text", f"Download corrections (CSV): {count}"))
        self._download.props.set_bool("disabled", count == 0)

    def _download_results(self) -> None:
        results = [result for _, result in sorted(self._results.items())]
        ui.download.content(self._csv(results), "predictions.csv", "text/csv")

    def _download_corrections(self) -> None:
        lines = [("path", "label"), *(self._corrections[key] for key in sorted(self._corrections))]
        ui.download.content("".join(map(csv_line, lines)), "corrections.csv", "text/csv")

    def _on_refused(self, event: GenericEventArguments) -> None:
        try:
            upload = RefusedUpload.model_validate(event.args)
        except ValidationError:  # not from the page's own script
            return
        self.add(upload, refused(upload.name, upload.reason))


def _html(content: str, tag: str = "div") -> ui.html:
    """An element with HTML from `rendered`, which is escaped already."""
    return ui.html(content, tag=tag, sanitize=False)


def _text(text: str, tag: str) -> ui.html:
    """An element with plain text."""
    return _html(rendered("text", text), tag)
