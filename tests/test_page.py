"""The page for coders in a real browser, served by the real API. Skipped where playwright or Chromium is not installed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import open_browser, read_lightness
from page_actions import code_text, find_faults, list_cards, list_hits, save_export

from data_gen.examples import read_examples

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: `uv pip install playwright` for this test")
pytest.importorskip("fastapi", reason="the API needs the extra `serve`")

from page_site import Site, start_site  # noqa: E402

expect = playwright.expect
expect.set_options(timeout=15_000)  # machines of CI may be busy
NOTE = """😀 Seen today: T2DM with foot ulcer, essential hypertension.
<b onclick="x()">bold</b><script>document.title = "obeyed"</script>
Denies cough. Family history: mother with breast cancer."""
KEY = "a-key-of-24-characters-x"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with start_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens pages, each in a context of its own, and says what was wrong with them: errors, and requests to other hosts."""
    contexts, said, asked = [], [], []

    def open_one(site: Site, width: int = 1280, allowed: str = "nothing", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 860}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: re.search(allowed, message.text) or said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith((site.url, "blob:")) or asked.append(request.url))
        page.goto(site.url)
        page.locator("#text").wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert said == [], "nothing on the console"
    assert asked == [], "nothing from another host"


def test_evidence_is_marked_where_the_answer_says(site: Site, open_page: Open) -> None:
    page = open_page(site)
    with page.expect_response("**/v1/coding") as answered:
        code_text(page, NOTE)
    assert "default-src 'self'" in answered.value.headers["content-security-policy"]
    answer = answered.value.json()
    spans = [span for coded in answer["codes"] for span in coded["evidence"]]
    assert [NOTE[span["start"] : span["end"]] for span in spans] == [span["text"] for span in spans], "characters, not units"
    assert sorted(page.locator("mark").all_inner_texts()) == sorted(span["text"] for span in spans)
    assert page.locator(".note-text").text_content() == NOTE, "the text as it was sent, markup and all"
    assert page.title() == "ICDTune coding"
    assert page.locator("mark").evaluate_all("marks => marks.map(mark => mark.dataset.n)") == ["1", "2", "3"]
    family = page.locator("mark.family_history")
    assert family.get_attribute("data-label") == "family" and "C50.919, family" in family.get_attribute("aria-label")
    hues = page.locator("mark").evaluate_all("marks => marks.map(mark => getComputedStyle(mark).borderBottomColor)")
    assert len(set(hues)) == 3

    page.locator("mark", has_text="hypertension").click()
    expect(page.locator(".card.selected .code").first).to_have_text("I10")
    page.locator(".card", has_text="E11.621").hover()
    expect(page.locator("mark.lit")).to_have_text("T2DM with foot ulcer")
    page.locator(".candidates summary").click()
    page.locator(".candidates .card-head").click()
    negated = page.locator("mark.negated")
    expect(negated).to_have_attribute("data-label", "negated")
    assert negated.evaluate("mark => getComputedStyle(mark).borderBottomStyle") == "dashed"


def test_offsets_are_of_characters_and_spans_may_overlap(site: Site, open_page: Open) -> None:
    page = open_page(site)
    found = page.evaluate(
        """async () => {
            const { cutIntoPieces, mapOffsets, tidyText } = await import("/offsets.js");
            const text = "a😀bc👩‍⚕️d";
            const toUnits = mapOffsets(text);
            const spans = [[1, 3], [2, 4], [4, 8]].map(([start, end], n) => ({ n, start: toUnits(start), end: toUnits(end) }));
            const pieces = cutIntoPieces(text, spans).map((piece) => [piece.text, piece.spans.map((span) => span.n)]);
            return { pieces, tidy: tidyText("a\\r\\nb\\rc\\ud800") };
        }"""
    )
    assert found["pieces"] == [["a", []], ["😀", [0]], ["b", [0, 1]], ["c", [1]], ["👩‍⚕️", [2]], ["d", []]]
    assert found["tidy"] == "a\nb\nc�"


def test_review_by_keyboard_alone(site: Site, open_page: Open) -> None:
    page = open_page(site)
    page.locator("#text").focus()
    page.keyboard.insert_text("foot ulcer, type 1 diabetes, hypertension, stage 3 kidney disease")
    page.keyboard.press("Control+Enter")
    expect(list_cards(page)).to_have_text(["E11.621", "E10.9", "I10", "N18.31"])
    expect(page.locator(".finding", has_text="E11.621 and E10.9 are not reported together").first).to_be_visible()

    for key, code in (("j", "E10.9"), ("ArrowDown", "I10"), ("ArrowUp", "E10.9"), ("k", "E11.621")):
        page.keyboard.press(key)
        expect(page.locator(".card.selected .card-head .code")).to_have_text(code)
    page.keyboard.type("are")  # as fast as it goes: none of the letters that follow is a shortcut
    page.keyboard.type("gout unspecifed")
    expect(page.locator('[data-entry="2"]')).to_have_class(re.compile("rejected"))
    expect(page.locator(".finding", has_text="E11.621 and E10.9")).to_have_count(0)  # the rules were asked again
    expect(list_hits(page).first).to_contain_text("M10.9")
    field = page.get_by_role("combobox", name="Replace I10")
    assert field.input_value() == "gout unspecifed", "keys are letters in a field"
    assert field.get_attribute("aria-activedescendant") == "hit-0" and field.get_attribute("aria-expanded") == "true"
    second = list_hits(page).nth(1).locator(".code").inner_text()
    for key in ("ArrowDown", "ArrowUp", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(list_cards(page)).to_have_text(["E11.621", "E10.9", second, "N18.31"])
    page.keyboard.press("z")
    expect(list_cards(page)).to_have_text(["E11.621", "E10.9", "I10", "N18.31"])
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox")).to_have_count(0)
    page.keyboard.press("a")
    expect(page.locator('[data-entry="4"].selected')).to_be_visible()
    page.keyboard.press("Alt+ArrowUp")
    expect(list_cards(page)).to_have_text(["E11.621", "E10.9", "N18.31", "I10"])
    page.keyboard.press("a")
    expect(page.locator("#finish")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("L97.41")
    expect(list_hits(page).first).to_contain_text("L97.41")
    page.keyboard.press("Enter")
    with page.expect_request("**/v1/decisions") as sent:
        page.keyboard.press("f")
    body = sent.value.post_data_json
    added = list_cards(page).last.inner_text()
    assert body["final_codes"] == ["E11.621", "N18.31", "I10", added]
    assert [row["decision"] for row in body["decisions"]] == ["accepted", "rejected", "accepted", "accepted", "added"]
    expect(page.locator(".ending.finished")).to_contain_text("of the audit log")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_review_by_pointer(site: Site, open_page: Open) -> None:
    page = open_page(site)
    code_text(page, "foot ulcer, hypertension, cough")
    page.get_by_role("button", name="E11.622").click()
    expect(page.locator('[data-entry="1"]')).to_contain_text("instead of E11.621")
    page.get_by_role("button", name="Undo the decision on E11.622").click()
    page.get_by_role("button", name="Move I10 up").click()
    expect(list_cards(page)).to_have_text(["I10", "E11.621"])
    page.locator(".candidates summary").click()
    page.get_by_role("button", name="Accept R05.9").click()
    expect(list_cards(page)).to_have_text(["I10", "E11.621", "R05.9"])
    page.locator("#finish").click()
    expect(page.get_by_role("status").last).to_contain_text("2 codes are not decided yet")
    expect(page.locator(".ending.finished")).to_have_count(0)
    page.locator(".context summary").click()
    with page.expect_request("**/v1/check") as asked:
        page.get_by_label("Sex").select_option("M")
    assert asked.value.post_data_json == {"codes": ["I10", "E11.621", "R05.9"], "sex": "M"}
    with page.expect_request("**/v1/check") as asked:
        page.get_by_label("Age").fill("67")
    assert asked.value.post_data_json["age"] == 67


def test_files_that_are_exported(site: Site, open_page: Open, tmp_path: Path) -> None:
    page = open_page(site)
    for text, keys in (("=foot ulcer and hypertension", "aa"), ("A note.\nWith hypertension.", "a"), ("hypertension", "r")):
        if page.locator("#new-note").count():
            page.locator("#new-note").click()
        code_text(page, text)
        for key in [*keys, "f"]:
            page.keyboard.press(key)
        expect(page.locator(".ending.finished")).to_be_visible()
    page.locator("#export").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 of 3 notes reviewed")
    assert page.locator(".exports li", has_text="holds note text").count() == 2

    saved = {name: save_export(page, name, tmp_path) for name in ("csv", "fhir", "json", "training", "decisions")}
    rows = list(csv.DictReader(io.StringIO(saved["csv"].read_text())))
    assert [row["code"] for row in rows] == ["E11.621", "I10", "I10"] and {row["reviewed"] for row in rows} == {"true"}
    bundle = json.loads(saved["fhir"].read_text())
    conditions = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Condition"]
    codings = [condition["code"]["coding"][0] for condition in conditions]
    assert [(one["system"], one["code"]) for one in codings[:1]] == [("http://hl7.org/fhir/sid/icd-10-cm", "E11.621")]
    examples = read_examples(saved["training"])
    assert [(one.scenario, one.codes, one.text) for one in examples] == [
        ("multiple", ("E11.621", "I10"), "=foot ulcer and hypertension"),
        ("note", ("I10",), "A note.\nWith hypertension."),
    ]
    assert {(one.split, one.source, one.release) for one in examples} == {("train", "review", "2026")}
    decisions = [json.loads(line) for line in saved["decisions"].read_text().splitlines()]
    assert [row["final_codes"] for row in decisions] == [["E11.621", "I10"], ["I10"], []]
    assert decisions[2]["decisions"][0]["decision"] == "rejected" and decisions[0]["review"]["sequence"] > 0
    assert [note["text"] for note in json.loads(saved["json"].read_text())["notes"]][2] == "hypertension"
    for name in ("csv", "fhir", "decisions"):
        assert "With hypertension" not in saved[name].read_text(), f"{name} holds no note text"


def test_batch_with_a_note_that_fails(site: Site, open_page: Open) -> None:
    page = open_page(site, allowed="422")
    rows = [{"id": f"visit {number}", "text": text} for number, text in enumerate(("hypertension", "NUL \x00", "foot ulcer"))]
    table = 'id;text;sex\n"a ""quoted"" name";"hypertension;\nand foot ulcer";female\nempty;;\nodd;nothing to code;x\n'
    files = [
        ("rows.jsonl", "\n".join(map(json.dumps, rows))),
        ("table.csv", table),
        ("broken.json", "{"),
        ("plain.txt", "cough"),
    ]
    page.set_input_files("#files", [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in files])
    problems = page.get_by_role("dialog", name="Not everything could be read")
    for said in ("table.csv row 2: no text", "table.csv row 3: sex left out", "broken.json: not valid JSON"):
        expect(problems).to_contain_text(said)
    page.keyboard.press("Escape")
    names = ["visit 0", "visit 1", "visit 2", 'a "quoted" name', "odd", "plain.txt"]
    expect(page.locator(".row-name")).to_have_text(names)
    expect(page.locator("#queue-count")).to_have_text("5 coded, 0 left, 1 failed; 0 reviewed")
    states = ["1 to decide", "failed", "1 to decide", "2 to decide", "no sure code", "no sure code"]
    expect(page.locator(".queue .state")).to_have_text(states)
    assert page.locator("progress").get_attribute("value") == page.locator("progress").get_attribute("max") == "6"

    page.locator(".row").nth(3).click()
    expect(page.locator(".note-text")).to_have_text("hypertension;\nand foot ulcer")
    expect(page.locator(".context summary")).to_have_text("Female")
    page.locator(".row").nth(0).click()
    for key in "afn":
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    expect(page.locator("#note-title")).to_have_text("visit 2")
    page.locator(".row").nth(1).click()
    expect(page.get_by_role("alert")).to_contain_text("NUL")
    page.get_by_role("button", name="Retry 1 failed").click()
    expect(page.locator("#queue-count")).to_have_text("5 coded, 0 left, 1 failed; 1 reviewed")
    page.locator(".row").nth(0).click()
    expect(page.locator(".decision")).to_have_text("Accepted")


def test_text_file_that_is_dropped(site: Site, open_page: Open) -> None:
    page = open_page(site)
    dropped = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array([0x68, 0xe4, 0x0d, 0x0a, 0x78])], "old.txt"));
            return transfer;
        }"""
    )
    page.dispatch_event("#text", "drop", {"dataTransfer": dropped})
    expect(page.locator("#text")).to_have_value("hä\nx")  # windows-1252, one kind of line end


def test_server_that_is_down_and_comes_back(site: Site, open_page: Open) -> None:
    page = open_page(site, allowed="503")
    site.kill_upstream()
    try:
        page.fill("#text", "hypertension")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#down")).to_contain_text("The model server does not answer. Nothing is lost")
        expect(page.locator("#down")).to_contain_text(re.compile(r"in [1-5] s"))
        expect(page.locator(".note-text")).to_have_text("hypertension")
    finally:
        site.revive_upstream()
    page.get_by_role("button", name="Try now").click()
    expect(list_cards(page)).to_have_text(["I10"])
    expect(page.locator("#down")).to_have_count(0)


def test_work_survives_a_reload_and_can_be_forgotten(site: Site, open_page: Open) -> None:
    page = open_page(site)
    code_text(page, "foot ulcer, hypertension")
    page.keyboard.press("r")
    page.locator("#theme").click()
    page.reload()
    expect(page.locator('[data-entry="1"]')).to_have_class(re.compile("rejected"))
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("localStorage.length") == 0 and page.context.cookies() == []
    page.locator("#settings").click()
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("dialog", name="Forget everything?").get_by_role("button", name="Forget everything").click()
    expect(page.locator("#text")).to_have_value("")
    page.wait_for_timeout(300)
    assert "hypertension" not in page.evaluate("JSON.stringify(sessionStorage)")
    page.reload()
    expect(page.locator(".card")).to_have_count(0)


def test_states_that_a_coder_must_see(site: Site, open_page: Open) -> None:
    page = open_page(site)
    code_text(page, "cough")
    expect(page.locator(".banner")).to_contain_text("not sure of any code")
    expect(page.get_by_role("button", name="Accept R05.9")).to_be_visible()  # unfolded
    expect(page.locator(".confidence").first).to_contain_text("not calibrated")
    page.locator("#new-note").click()
    page.locator("#code").click()
    expect(page.get_by_role("status").last).to_have_text("There is no text to code yet.")
    code_text(page, "nothing of the kind")
    expect(page.locator(".banner")).to_contain_text("No codes")
    page.locator("#export").click()
    assert page.locator(".exports button:enabled").count() == 0 and find_faults(page) == []


def test_key_is_asked_for_and_texts_too_long_are_said_to_be_cut(
    browser: Any, open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICDTUNE_API_KEYS", f"ward={KEY}")
    with start_site(tmp_path, long_text="truncate") as keyed:
        page = open_page(keyed, allowed="401")
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_role("button", name="Not now").click()
        page.fill("#text", "hypertension " + "word " * 3000)
        page.keyboard.press("Control+Enter")
        dialog.get_by_label("Key").fill("not the right one")
        page.keyboard.press("Enter")
        dialog.get_by_label("Key").fill(KEY)
        page.keyboard.press("Enter")
        expect(list_cards(page)).to_have_text(["I10"])
        expect(page.locator(".banner")).to_contain_text("The note was cut")
        assert page.evaluate("sessionStorage.getItem('icdtune.key')") == KEY
        assert KEY not in page.evaluate("sessionStorage.getItem('icdtune.session') + JSON.stringify(localStorage)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_both_themes_on_phone_and_desk(site: Site, open_page: Open, width: int, scheme: str) -> None:
    page = open_page(site, width, color_scheme=scheme, reduced_motion="reduce")
    paper, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert (read_lightness(paper) < 0.3) == (scheme == "dark") and abs(read_lightness(paper) - read_lightness(ink)) > 0.6
    assert width == 390 or find_faults(page) == []
    expect(page.locator(".notice")).to_be_in_viewport()
    code_text(page, NOTE + "x" * 300)
    page.locator(".candidates summary").click()
    page.locator(".card-head").nth(1).click()
    page.keyboard.press("/")
    page.keyboard.type("fracture of femur")
    list_hits(page).first.wait_for()
    assert find_faults(page) == []
    expect(page.locator(".notice")).to_be_in_viewport()
    for landmark in ("banner", "main", "contentinfo", "navigation"):
        expect(page.get_by_role(landmark)).to_have_count(1)
    page.locator("#theme").click()
    assert (read_lightness(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.3) == (scheme == "light")


def test_printed_page_is_ink_on_white(site: Site, open_page: Open) -> None:
    page = open_page(site, color_scheme="dark")
    code_text(page, NOTE)
    page.emulate_media(media="print", color_scheme="dark")
    assert read_lightness(page.evaluate("getComputedStyle(document.body).color")) < 0.3
    expect(page.get_by_role("button", name="Accept E11.621")).to_be_hidden()
    expect(page.locator(".print-only").first).to_have_text("Not decided")
    expect(page.locator(".print-only").first).to_be_visible()
    expect(page.locator(".notice")).to_be_visible()
    assert page.pdf().startswith(b"%PDF")
