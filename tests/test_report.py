"""Reports: what the verdict claims, that hostile text is inert, that files are whole, equal and readable again."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console

from medleyrec.dataset.audit.findings import Audit, Finding
from medleyrec.evaluation.charts import line_charts, nice_ticks, whisker_plot
from medleyrec.evaluation.comparisons import Comparison
from medleyrec.evaluation.console import console_table, console_tables
from medleyrec.evaluation.pages import html, markdown
from medleyrec.evaluation.pictures import SIDE, thumbnail
from medleyrec.evaluation.report import (
    Curve,
    CurvePoint,
    ExampleUser,
    ItemCard,
    ModelRow,
    Protocol,
    Report,
    SliceRow,
    standard_notes,
)
from medleyrec.evaluation.statistics import Estimate
from medleyrec.schema import InputError

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> | `tick` **bold** [a](javascript:b)\nnext line"


def estimate(value):
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def row(name, kind, value, **more):
    metrics = {f"{m}@{k}": estimate(value + k / 100) for m in ("hit_rate", "ndcg") for k in (5, 10)}
    return ModelRow(name=name, kind=kind, metrics=metrics, **more)


def test_of(model, reference, difference, p):
    """A comparison on the headline metric."""
    return Comparison(
        model=model, reference=reference, metric="ndcg@10", difference=estimate(difference), p=p / 3, p_holm=p
    )


test_of.__test__ = False

ROWS = (row("popularity", "baseline", 0.1), row("ids", "model", 0.2), row("ids + text", "model", 0.3))
WON = (test_of("ids", "popularity", 0.1, 0.003), test_of("ids + text", "popularity", 0.2, 0.0003))


def report(**changes):
    usual = {
        "title": "Medley", "split": "leave-one-out", "candidates": "log", "events": 100, "users": 100,
        "models": ROWS, "comparisons": WON, "plain": "ids",
    }  # fmt: skip
    return Report(**(usual | changes))


def picture(size=(300, 200), mode="RGB", kind="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, "red").save(file, kind, **options)
    return file.getvalue()


def notes(**options):
    return standard_notes(candidates="log", num_candidates=12101, split="leave-one-out", max_length=50, **options)


def full(title="Oak desk", **changes):
    """A report with everything in it."""
    cards = (ItemCard(title=title, picture=picture()), ItemCard(title=title), ItemCard(title=title, is_target=True))
    points = tuple(CurvePoint(epoch=e, loss=7 / e, validation=e / 100 if e % 2 else None) for e in range(1, 8))
    by_model = {r.name: r.metrics for r in ROWS}
    return report(
        title=title,
        facts={"users": 22363, title: title, "density": 0.00073},
        slices=(SliceRow(name=title, events=7, models=by_model), SliceRow(name="rest", events=93, models={})),
        curves=tuple(Curve(model=name, metric="ndcg@10", points=points) for name in ("ids", title)),
        examples=(
            ExampleUser(user=title, model="ids", history=cards[:2], recommended=cards, target=cards[2], rank=3.5),
            ExampleUser(user="u2", model="ids", history=(), recommended=cards[:2], target=cards[2], rank=41),
        ),
        notes=(title, *notes(seen_masked=False)),
        command="medley evaluate runs/x",
        **({"audit": audit(title)} | changes),
    )  # fmt: skip


def audit(text="Oak desk"):
    values = {"share": 0.439, "events": 7}
    return Audit(
        split="leave-one-out",
        findings=(
            Finding(name="span", sentence="The log spans 4,424 days.", values={"days": 4424.0}),
            Finding(
                name="ties", sentence=f"43.9 % tie, {text}.", values=values, level="caution", examples=((text, "b"),)
            ),
        ),
    )


# verdict


def test_the_verdict_names_the_best_model_and_what_it_is_better_than():
    gain = test_of("ids + text", "ids", 0.1, 0.012)
    assert report(comparisons=(*WON, gain)).verdict == (
        "ids + text ranks the true next item in the first ten for 40.0 % of users (39.0 to 41.0), "
        "2.0 times popularity; the NDCG@10 difference to ids is +0.1000 (+0.0900 to +0.1100, p = 0.012)."
    )


def test_a_difference_that_is_not_shown_is_not_claimed():
    gain = test_of("ids + text", "ids", 0.005, 0.4)
    assert report(comparisons=(*WON, gain)).verdict.endswith(
        "the NDCG@10 difference to ids is +0.0050 (-0.0050 to +0.0150, p = 0.400), so none is shown."
    )


def test_nothing_beats_popularity():
    lost = (test_of("ids", "popularity", 0.1, 0.06), test_of("ids + text", "popularity", 0.2, 0.05))
    assert report(comparisons=lost).verdict == (
        "No model is shown to be better than popularity on this data. The NDCG@10 difference of the best, ids + text, "
        "is +0.2000 (+0.1900 to +0.2100, p = 0.050)."
    )


def test_worse_than_popularity_is_said():
    lost = (test_of("ids", "popularity", -0.1, 0.001), test_of("ids + text", "popularity", -0.2, 0.001))
    assert "No model is shown to be better than popularity on this data. Popularity is better: " in (
        report(comparisons=lost).verdict
    )


def test_a_model_that_is_shown_to_be_better_goes_before_one_that_only_looks_so():
    mixed = (test_of("ids", "popularity", 0.1, 0.003), test_of("ids + text", "popularity", 0.2, 0.3))
    assert report(comparisons=mixed).verdict.startswith("ids ranks the true next item")


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (0.01, 0.7, " It is not shown to be better than transitions: NDCG@10 +0.0100 (+0.0000 to +0.0200, p = 0.700)."),
        (-0.1, 0.001, " The untrained baseline transitions is better: the NDCG@10 difference is -0.1000"),
    ],
)
def test_a_baseline_that_is_not_beaten_is_named(difference, p, said):
    rows = (*ROWS, row("transitions", "baseline", 0.3))
    tests = (*WON, test_of("ids + text", "transitions", difference, p))
    assert said in report(models=rows, comparisons=tests).verdict


def test_a_baseline_that_is_beaten_is_not_dwelt_on():
    rows = (*ROWS, row("transitions", "baseline", 0.1))
    tests = (*WON, test_of("ids + text", "transitions", 0.2, 0.001))
    assert "transitions" not in report(models=rows, comparisons=tests).verdict


def test_what_was_not_tested_is_not_claimed():
    assert report(comparisons=()).verdict.endswith("(39.0 to 41.0). It was not tested against popularity.")
    assert report(models=ROWS[:1], comparisons=()).verdict.startswith("No model was trained. popularity ranks the true")


def test_users_with_several_events_are_called_events():
    assert "of test events (" in report(users=50).verdict


def test_popularity_without_a_hit_is_no_divisor():
    nothing = {name: Estimate(value=0, low=0, high=0) for name in ROWS[0].metrics}
    rows = (dataclasses.replace(ROWS[0], metrics=nothing), *ROWS[1:])
    assert "(39.0 to 41.0); popularity has none." in report(models=rows).verdict


# the tree


def test_json_round_trip(tmp_path):
    made = full(HOSTILE)
    path, _, _ = made.write(tmp_path)
    again = Report.read(path)
    assert again == made
    assert list(again.models[0].metrics) == ["hit_rate@5", "hit_rate@10", "ndcg@5", "ndcg@10"]
    assert again.examples[0].history[0].picture.startswith(b"\xff\xd8")
    assert (html(again), markdown(again)) == (html(made), markdown(made))


def test_equal_reports_are_equal_files(tmp_path):
    one, other = full().write(tmp_path / "a"), full().write(tmp_path / "b")
    assert [p.name for p in one] == ["report.json", "report.md", "report.html"]
    for a, b in zip(one, other, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_json_is_named(value, tmp_path):
    rows = (dataclasses.replace(ROWS[0], training_seconds=value), *ROWS[1:])
    with pytest.raises(ValueError, match=rf"report.models\[0\].training_seconds is {value}"):
        report(models=rows).write(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": 3}, "verdict: Input should be a valid string"),
        ({"surprise": 3}, "surprise: Unexpected keyword argument"),
        ({"format_version": 99}, "has format 99, this version reads 1; evaluate again"),
    ],
)
def test_another_json_is_no_report(change, message):
    with pytest.raises(InputError, match=message):
        Report.from_json(report().to_json() | change, where="x.json")


def test_models_need_the_same_metrics():
    odd = dataclasses.replace(ROWS[0], name="odd", metrics={"ndcg@10": estimate(0.1)})
    with pytest.raises(ValueError, match="odd has metrics"):
        report(models=(*ROWS, odd))
    with pytest.raises(ValueError, match="different names"):
        report(models=(*ROWS, ROWS[0]))
    with pytest.raises(ValueError, match="ndcg@7"):
        report(headline="ndcg@7")


def test_notes_say_what_must_be_known():
    said = " ".join(notes(seen_masked=True))
    for word in ("12,101 candidates (log)", "leave-one-out", "last 50 events", "left out of the ranking", "tied / 2"):
        assert word in said
    assert "not masked" in " ".join(full().notes)


# pages


class Page(HTMLParser):
    """Tags with attributes and the text of a page; an element that is not closed fails."""

    EMPTY = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_hostile_text_is_shown_and_does_nothing():
    page = Page(html(full(HOSTILE)))
    assert not {"script", "link", "iframe", "object", "form", "a"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert attributes.get("src", "data:").startswith("data:")
    assert page.text.count("<script>alert(1)</script>") > 5


def test_the_page_forbids_what_it_does_not_need_and_names_no_address():
    text = html(full())
    assert "default-src 'none'" in text
    assert not re.findall(r"https?://|@import|url\(", text)


def test_the_page_has_every_part():
    made = full()
    page = Page(html(made))
    words = " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    for said in (
        made.verdict,
        *made.notes,
        made.command,
        "22,363",
        "0.00073",
        "NDCG@10 by slice",
        "Paired comparisons",
    ):
        assert said in words
    assert "puts the true next item at rank 3.5" in words
    assert words.count("true next item") == 5  # verdict, two leads, a recommended card, the card of what came next


def test_the_audit_is_in_the_page_cautions_first():
    made = full()
    page = Page(html(made))
    said = " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "Audit of the data One caution changes how results on this data may be read." in said
    assert "Caution. 43.9 % tie, Oak desk. The log spans 4,424 days." in said
    assert [a["class"] for tag, a in page.tags if tag == "li" and a.get("class") in ("caution", "fact")] == [
        "caution",
        "fact",
    ]
    assert "- **Caution.** 43.9 % tie, Oak desk.\n- The log spans 4,424 days.\n" in markdown(made)
    for text in (html(full(audit=None)), markdown(full(audit=None))):
        assert "Audit of the data" not in text


def test_the_audit_is_whole_in_the_json(tmp_path):
    path, _, _ = full().write(tmp_path)
    assert Report.read(path).audit == audit()
    assert json.loads(path.read_text())["audit"]["findings"][1]["values"] == {"share": 0.439, "events": 7}


def test_a_report_of_before_the_audit_is_read():
    value = full().to_json()
    del value["audit"]
    assert Report.from_json(value) == full(audit=None)


def sampled(text="Oak desk"):
    by_model = {r.name: {n: estimate(e.value + 0.4) for n, e in r.metrics.items()} for r in ROWS}
    groups = (SliceRow(name=text, events=20, models=by_model), SliceRow(name="tail", events=80, models={}))
    return Protocol(
        title=f"Sampled {text}", why=f"Not the headline {text}", models=by_model, groups=groups, notes=(text,)
    )


def test_a_protocol_has_a_table_of_its_own_under_its_reason():
    made = full(protocols=(sampled(),))
    said = " ".join(Page(html(made)).text.replace("\N{NO-BREAK SPACE}", " ").split())
    after = said.split("Sampled Oak desk Not the headline Oak desk")[1]
    assert after.startswith(" ModelHit rate@5Hit rate@10NDCG@5NDCG@10 popularity 0.55000.5400–0.5600 0.6000")
    assert "Oak desk20NDCG@10 0.60000.5900–0.6100 0.70000.6900–0.7100" in after
    assert "tail80Hit rate@10 – – – tail80NDCG@10 –" in after
    text = markdown(made)
    assert "## Sampled Oak desk\n\nNot the headline Oak desk\n" in text
    assert "| ids + text | 0.7500 (0.7400 to 0.7600) |" in text
    assert "| tail | 80 | NDCG@10 | – | – | – |" in text
    assert text.index("## NDCG@10 by slice") < text.index("## Sampled") < text.index("## Training")
    assert made.verdict == full().verdict, "the headline does not speak of it"


def test_a_protocol_is_inert_too_and_whole_in_every_table():
    made = full(HOSTILE, protocols=(sampled(HOSTILE),))
    assert not {"script", "form", "a"} & {tag for tag, _ in Page(html(made)).tags}
    tables = re.findall(r"(?:^\|.*\n)+", markdown(made), flags=re.MULTILINE)
    assert len(tables) == 9
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_a_report_of_before_the_protocols_is_read():
    value = full().to_json()
    del value["protocols"]
    assert Report.from_json(value) == full()
    assert Report.from_json(full(protocols=(sampled(),)).to_json()).protocols == (sampled(),)


def test_models_are_compared_with_baselines_and_with_each_other():
    gain = test_of("ids + text", "ids", 0.1, 0.012)
    made = report(comparisons=(*WON, gain))
    assert made.against_baselines == WON
    assert made.between_models == (gain,)
    said = " ".join(Page(html(made)).text.replace("\N{NO-BREAK SPACE}", " ").split())
    before, after = said.split("Between trained models, each pair once")
    assert "ids + textidsNDCG@10+0.1000" in after
    assert "idspopularityNDCG@10+0.1000" in before
    assert "Between trained models" not in html(report())
    before, after = markdown(made).split("Between trained models, each pair once:")
    assert "| ids + text | ids | NDCG@10 | +0.1000 |" in after
    assert "| ids | popularity | NDCG@10 | +0.1000 |" in before


@pytest.mark.parametrize("width", [80, 150])
def test_the_terminal_shows_slices_and_the_protocol(width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for table in console_tables(full("Oak desk [red]", protocols=(sampled(),))):
        console.print(table)
    said = " ".join(console.file.getvalue().split())
    for words in ("NDCG@10 by slice", "Oak desk [red]", "Sampled Oak desk. Not the headline Oak desk", "0.7000"):
        assert words in said, said
    assert len(console_tables(report())) == 1


def test_many_models_fit_a_narrow_terminal():
    rows = tuple(row(f"model {i} (described_image + text)", "model", 0.1 + i / 100) for i in range(7))
    parts = (SliceRow(name="a part with quite a long name", events=22_363, models={r.name: r.metrics for r in rows}),)
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for table in console_tables(report(models=rows, comparisons=(), plain=None, slices=parts))[1:]:
        console.print(table)
    lines = console.file.getvalue().splitlines()
    assert [line.count("0.2") for line in lines if "22,363" in line] == [5, 2], "each model stands once, and whole"
    shown = console.file.getvalue()
    assert shown.count("NDCG@10 by slice") == 1
    for i in range(7):
        assert shown.count(f"0.2{i}00") == 1


def test_every_drawing_can_be_heard():
    drawings = [a for tag, a in Page(html(full())).tags if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawings) == 2
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert "ids: " in attributes["aria-label"]
        assert "at epoch 7" in attributes["aria-label"]


def test_pages_without_pictures_curves_or_examples():
    made = report(comparisons=())
    page = Page(html(made))
    assert not [tag for tag, _ in page.tags if tag in ("img", "svg")]
    assert made.verdict in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert markdown(made).startswith("# Medley\n\n**ids + text ranks")


def test_markdown_has_whole_tables_and_no_mark_up_from_data():
    text = markdown(full(HOSTILE))
    assert "<script" not in text
    assert "<img" not in text
    assert r"\*\*bold\*\*" in text
    assert r"\[a\](javascript:b)" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_markdown_tells_the_same_numbers():
    text = markdown(full())
    assert "| ids + text | model | 0.3500 (0.3400 to 0.3600) | 0.4000 (0.3900 to 0.4100) |" in text
    assert "| ids | popularity | NDCG@10 | +0.1000 | +0.0900 to +0.1100 | 0.001 | 0.003 |" in text
    assert "| Oak desk | 7 | 0.2000 (0.1900 to 0.2100) | 0.3000" in text
    assert "| rest | 93 | – | – | – |" in text
    assert "- recommended: Oak desk; Oak desk; **Oak desk** (the true next item)" in text
    assert text.endswith("```\nmedley evaluate runs/x\n```\n")


def test_a_command_cannot_leave_its_fence():
    hostile = dataclasses.replace(full(), command="a\n```\n# b")
    assert markdown(hostile).count("```") == 2


@pytest.mark.parametrize("width", [80, 140])
def test_the_terminal_shows_every_model_whole(width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    rows = (ROWS[0], dataclasses.replace(ROWS[1], name="ids [red]", oracle_share=0.613), ROWS[2])
    console.print(console_table(report(models=rows, comparisons=())))
    shown = console.file.getvalue()
    for said in ("popularity", "ids [red]", "ids + text", "61.3 %", "0.3000", "(.2900-.3100)", "NDCG", "Hit rate"):
        assert said in shown
    assert shown.count("0.4000") == 2


# pictures and charts


@pytest.mark.parametrize(
    "data",
    [
        picture(),
        picture(kind="JPEG", size=(2000, 10)),
        picture(mode="RGBA"),
        picture(mode="P", kind="GIF"),
        picture(mode="CMYK", kind="JPEG"),
        picture(mode="L"),
        picture(kind="WEBP"),
    ],
)
def test_a_thumbnail_is_a_small_jpeg(data):
    small = thumbnail(data)
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.mode, max(image.size) <= SIDE) == ("JPEG", "RGB", True)
    assert thumbnail(small) == small


def test_what_is_transparent_becomes_white():
    file = io.BytesIO()
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(file, "PNG")
    with Image.open(io.BytesIO(thumbnail(file.getvalue()))) as image:
        assert min(image.getpixel((10, 10))) > 250


def test_a_thumbnail_keeps_nothing_of_the_camera():
    exif = Image.Exif()
    exif[0x010E] = "at home"
    data = picture(kind="JPEG", size=(60, 40), exif=exif)
    assert b"at home" in data
    assert b"at home" not in thumbnail(data)


TINY = picture(kind="JPEG", size=(60, 40))


@pytest.mark.parametrize("data", [None, b"", b"no picture", picture()[:60], picture(kind="JPEG")[:-40], TINY[:-40]])
def test_a_broken_picture_is_none(data):
    assert thumbnail(data) is None
    assert ItemCard(title="x", picture=data).picture is None


def test_a_bomb_is_none(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert thumbnail(picture()) is None


def test_pictures_are_in_the_page():
    (first, *_) = [a["src"] for tag, a in Page(html(full())).tags if tag == "img"]
    data = base64.b64decode(first.removeprefix("data:image/jpeg;base64,"))
    assert data == full().examples[0].history[0].picture


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0, 0.0412, 5, [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
        (4.4, 6.7, 4, [4, 5, 6, 7]),
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 3, 4, [3, 4]),
        (0, 0, 4, [0, 0.25]),
    ],
)
def test_ticks_are_round_and_hold_the_data(low, high, count, ticks):
    assert nice_ticks(low, high, count) == pytest.approx(ticks)


def test_whiskers_are_in_proportion():
    plot = whisker_plot(report())
    top = float(plot.ticks[-1].label)
    assert plot.ticks[0].label == "0"
    for whisker, model in zip(plot.rows, ROWS, strict=True):
        e = model.metrics["ndcg@10"]
        expected = [100 * x / top for x in (e.low, e.value, e.high)]
        assert [whisker.low, whisker.dot, whisker.high] == pytest.approx(expected, abs=0.01)


def test_curves_fall_where_losses_fall():
    loss, validation = line_charts(full())
    assert [line.series for line in loss.lines] == [0, 1]
    heights = [y for _, y in loss.lines[0].marks]
    assert heights == sorted(heights)  # downwards is larger in a drawing
    assert len(validation.lines[0].marks) == 4  # epochs without a validation have no mark


def test_a_curve_of_one_epoch_is_a_point():
    points = (CurvePoint(epoch=1, loss=2.5),)
    (chart,) = line_charts(report(curves=(Curve(model="ids", metric="ndcg@10", points=points),)))
    assert len(chart.lines[0].marks) == 1
    assert Page(html(report(curves=(Curve(model="ids", metric="ndcg@10", points=points),)))).tags


def test_json_on_disk_is_strict(tmp_path):
    path, _, _ = full().write(tmp_path)
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["verdict"] == full().verdict
