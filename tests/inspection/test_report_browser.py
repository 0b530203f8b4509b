"""The report in a browser: it opens alone, and does what it says, on a phone and on a laptop."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from conveyor.inspection import Attention, ReportExample, write_report
from conveyor.inspection._packing import pack, unpack
from report_reader import IN_A_BROWSER, SIZES, Reader
from report_traces import dataset, lstm_states, text_tree, tree

pytestmark = [*IN_A_BROWSER, pytest.mark.any_backend]

TEXTS = ["le 4 mai 2025", "mardi 4 mars", "4 de maio", "am 4. Mai 2025"]
UNITS = 24


@pytest.fixture(scope="module")
def traced():
    encoder = text_tree(TEXTS, UNITS)["encoder"].to_dataset()
    return tree(
        encoder=encoder, decoder=dataset(lstm_states(4, 7, 5, seed=1), direction="backward")
    )


@pytest.fixture(scope="module")
def report(traced, tmp_path_factory):
    rng = np.random.default_rng(0)
    return write_report(
        tmp_path_factory.mktemp("report") / "report.html",
        title="Dates",
        tree=traced,
        examples=[ReportExample(f"Date {i}", text, "2025", "2025") for i, text in enumerate(TEXTS)],
        attention=Attention(rng.dirichlet(np.ones(14), (4, 4)), ["2025"] * 4, TEXTS),
        beams=[[("2025", -0.1), ("2052", -2.5 - i)] for i in range(4)],
        gradients={
            "encoder": SimpleNamespace(
                d_hidden_states=np.geomspace(1e-9, 1e-2, 13),
                d_cell_states=np.geomspace(1e-5, 1e-2, 13),
                d_inputs=np.geomspace(1e-6, 1e-2, 13),
                memory_length=4.5,
                verdict="Halves every two steps.",
            )
        },
    )


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


class Explorer(Reader):
    """Points, clicks and drags in the explorer."""

    def cell(self, row, step, rows=UNITS, steps=None, inside=".explorer .map"):
        steps = steps or self.page.locator(".explorer .ruler li").count()
        map_ = self.page.locator(inside)
        map_.evaluate("map => map.scrollIntoView({block: 'center'})")
        box = map_.bounding_box()
        # On a phone the map is wider than the screen: bring the column into it.
        x = box["width"] * (step + 0.5) / steps
        map_.evaluate("(map, x) => map.closest('.scroll').scrollLeft = x - 150", x)
        box = map_.bounding_box()
        return box["x"] + x, box["y"] + box["height"] * (row + 0.5) / rows

    def point(self, row, step, **where):
        self.page.mouse.move(*self.cell(row, step, **where))

    def step(self, number):
        label = self.page.locator(".explorer .ruler li").nth(number)
        label.scroll_into_view_if_needed()
        box = label.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, first, last):
        self.page.mouse.move(*self.step(first))
        self.page.mouse.down()
        self.page.mouse.move(*self.step(last), steps=3)
        self.page.mouse.up()


@pytest.fixture
def reader(browser, report, size):
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, has_touch=size == "phone", offline=True
    )
    reader = Explorer(page, report)
    yield reader
    page.close()
    assert reader.troubles == []
    assert reader.requests == [report.as_uri()]


def shown_number(text):
    """The number of a tip, and how far it may be off."""
    number, _, error = text.replace("−", "-").partition(" ± ")
    return float(number), float(error or 10.0 ** -len(number.split(".")[1]))


def test_it_opens_alone_and_fits_the_screen(reader, size):
    assert reader.page.title() == "Dates"
    width = reader.page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= SIZES[size][0]
    assert reader.page.evaluate("() => document.querySelectorAll('.explorer canvas').length") == 2


def test_hover_tells_value_unit_step_and_token(reader, traced):
    for row, step in [(0, 0), (5, 3), (UNITS - 1, 12)]:
        reader.point(row, step)
        number, unit, where = reader.text(".explorer .tip").splitlines()
        unit = int(unit.removeprefix("unit "))
        value, error = shown_number(number)
        truth = traced["encoder"]["cell_states"].values[0, step, unit]
        assert abs(value - truth) <= error
        token = TEXTS[0][step].replace(" ", "␣")
        assert where == f"step {step + 1} of 13: “\u2068{token}\u2069”"


def test_a_number_is_as_exact_as_it_says(reader):
    rng = np.random.default_rng(0)
    values = rng.choice([-1, 1], 2000) * 10 ** rng.uniform(-9, 4, 2000)
    halves = 10 ** rng.uniform(-9, 1, 2000)
    spelled = reader.page.evaluate(
        "cases => cases.map(([value, half]) => spell(value, half, true))",
        list(zip(values.tolist(), halves.tolist(), strict=True)),
    )
    for value, half, text in zip(values, halves, spelled, strict=True):
        shown, error = shown_number(text)
        assert abs(shown - value) + half <= error * (1 + 1e-9), text


def test_other_states_samples_and_layers(reader, traced):
    reader.choose("state", "forget_gates")
    assert reader.text(".about").startswith("f at every step")
    assert reader.text(".legend .low") == "0"
    reader.choose("sample", 2)
    reader.point(3, 4)
    number, unit, where = reader.text(".explorer .tip").splitlines()
    unit = int(unit.removeprefix("unit "))
    value, error = shown_number(number)
    assert abs(value - traced["encoder"]["forget_gates"].values[2, 4, unit]) <= error
    assert where == "step 5 of 9: “\u2068␣\u2069”"
    assert reader.texts(".explorer .ruler li") == list("4␣de␣maio")
    reader.choose("layer", 1)
    assert reader.page.locator(".explorer .ruler li").count() == 7
    assert "from the last step to the first" in reader.text(".about")
    reader.point(0, 6, rows=5)
    number, unit, where = reader.text(".explorer .tip").splitlines()
    value, error = shown_number(number)
    unit = int(unit.removeprefix("unit "))
    assert abs(value - traced["decoder"]["forget_gates"].values[2, 6, unit]) <= error
    assert where == "step 7 of 7"


def test_the_sample_has_its_beam_and_its_attention(reader):
    assert reader.texts(".hypotheses bdi") == ["2025", "2052"]
    reader.choose("sample", 3)
    assert reader.texts(".hypotheses code") == ["−0.100", "−5.500"]
    assert reader.text(".of-sample") == "Date 3"
    assert reader.texts(".attention-target li") == list("2025")
    assert "".join(reader.texts(".attention-source li")) == TEXTS[3].replace(" ", "␣")
    weights = np.random.default_rng(0).dirichlet(np.ones(14), (4, 4))
    reader.point(2, 5, rows=4, steps=14, inside=".attention .map")
    number, writing, looking = reader.text(".attention .tip").splitlines()
    value, error = shown_number(number)
    assert abs(value - weights[3, 2, 5]) <= error
    assert writing == "writing “\u20682\u2069” (step 3)"
    assert looking == "looking at “\u2068␣\u2069” (step 6)"


def test_the_keyboard_walks_selects_and_chooses(reader):
    reader.page.locator(".explorer .map").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        reader.page.keyboard.press(key)
    assert "step 2 of 13" in reader.page.locator("figure .said-aloud").text_content()
    for _ in range(3):
        reader.page.keyboard.press("Shift+ArrowRight")
    assert reader.text(".passage-title b").startswith("Steps 2 to 5 of Date 0: “\u2068e␣4␣\u2069”")
    reader.page.keyboard.press("Enter")
    reader.wait()
    said = reader.page.locator("figure .said-aloud").text_content()
    chosen = reader.page.locator(".unit-number").input_value()
    assert said.startswith(f"unit {chosen},")
    reader.page.keyboard.press("Escape")
    assert reader.page.locator(".explorer .tip").is_hidden()


def test_a_click_shows_the_unit_over_all_samples(reader, traced):
    reader.page.mouse.click(*reader.cell(7, 5))
    reader.wait()
    unit = int(reader.text(".explorer .tip").splitlines()[1].removeprefix("unit "))
    assert int(reader.page.locator(".unit-number").input_value()) == unit
    strips = reader.page.locator(".strips .steps").all_text_contents()
    assert strips == [text.replace(" ", "␣") for text in TEXTS]
    values = traced["encoder"]["cell_states"].values[..., unit]
    best = np.unravel_index(np.nanargmax(np.abs(values)), values.shape)
    first = reader.page.locator(".drivers button").first
    assert f"Date {best[0]}, step {best[1] + 1}" in first.inner_text()
    assert first.locator(".peak").inner_text() == TEXTS[best[0]][best[1]].replace(" ", "␣")
    reader.page.locator(".by label").nth(1).click()
    change = np.abs(np.diff(values, axis=1))
    best = np.unravel_index(np.nanargmax(change), change.shape)
    first = reader.page.locator(".drivers button").first
    assert f"Date {best[0]}, step {best[1] + 2}" in first.inner_text()
    first.click()
    reader.wait()
    assert reader.page.locator(f"input[name=sample][value='{best[0]}']").is_checked()
    assert reader.page.locator(".match-mark").is_visible()


def on_throughout(values, units, threshold, sample, start, steps):
    """How many of the units are on in all of these steps, and off around them or not."""
    on = np.abs(values) > threshold  # a masked step, NaN, is off
    inside = on[sample, start : start + steps][:, units].all(axis=0)
    before = on[sample, start - 1, units] if start else np.zeros(len(units), bool)
    end = start + steps
    after = on[sample, end, units] if end < on.shape[1] else np.zeros(len(units), bool)
    return inside.sum(), (inside & ~before & ~after).sum()


@pytest.mark.parametrize(("last", "part", "outside"), [(5, 0.1, False), (4, 0.3, True)])
def test_a_span_finds_the_passages_in_which_the_same_units_are_on(
    reader, traced, last, part, outside
):
    wanted = last - 3 + 1
    reader.drag(3, last)
    if outside:
        reader.page.locator(".outside").check()
    reader.page.locator(".threshold").evaluate(
        "(slider, part) => { slider.value = part; slider.dispatchEvent(new Event('input')); }", part
    )
    quote = TEXTS[0][3 : last + 1].replace(" ", "␣")
    title = f"Steps 4 to {last + 1} of Date 0: “\u2068{quote}\u2069”"
    assert title in reader.text(".passage-title")
    values = traced["encoder"]["cell_states"].values
    values = np.moveaxis(unpack(pack(np.moveaxis(values, 1, 2))), 1, 2)  # what the page knows
    high = float(reader.text(".legend .high").strip("≥ "))
    threshold = part * max(np.abs(values[0, 3 : last + 1]).max(), high)
    each = np.arange(UNITS)
    units = [u for u in each if on_throughout(values, [u], threshold, 0, 3, wanted)[int(outside)]]
    assert len(units) > 1
    assert sorted(map(int, reader.texts(".chips button"))) == units

    def alike(steps):
        return min(steps, wanted) / max(steps, wanted)

    def score(sample, start, steps):
        count = on_throughout(values, units, threshold, sample, start, steps)[int(outside)]
        return count / len(units) * alike(steps)

    scores = {
        (sample, start + 1, start + steps): score(sample, start, steps)
        for sample, text in enumerate(TEXTS)
        for steps in range((wanted + 1) // 2, 2 * wanted + 1)
        for start in range(len(text) - steps + 1)
        if sample or start > last or start + steps <= 3  # not the selected passage itself
    }
    found = []
    for note in reader.texts(".matches .passage-note"):
        sample, *steps = map(
            int, re.search(r"Date (\d), steps? (\d+)(?: to (\d+))?", note).groups("0")
        )
        place = (sample, steps[0], steps[1] or steps[0])
        count = int(re.search(r"(\d+) of \d+ units", note)[1])
        length = place[2] - place[1] + 1
        assert count / len(units) * alike(length) == pytest.approx(scores[place])
        found.append((place, scores[place]))
    assert found[0][1] == pytest.approx(max(scores.values()))
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    for (one, first, end), _ in found:
        assert not any(
            one == other and first <= e and s <= end and (first, end) != (s, e)
            for (other, s, e), _ in found
        )
    reader.page.locator(".matches button").first.click()
    reader.wait()
    assert reader.page.locator(f"input[name=sample][value='{found[0][0][0]}']").is_checked()
    assert reader.page.locator(".match-mark").is_visible()
    reader.page.get_by_role("button", name="back to it").click()
    reader.wait()
    assert reader.page.locator(".span-mark").is_visible()


def test_two_taps_select_on_a_phone(reader, size):
    if size == "laptop":
        pytest.skip("a laptop has a mouse")
    for number in (2, 6):
        reader.page.touchscreen.tap(*reader.step(number))
    assert reader.text(".passage-title b").startswith("Steps 3 to 7 of Date 0")
    reader.page.touchscreen.tap(*reader.cell(4, 3))
    reader.wait()
    unit = reader.text(".explorer .tip").splitlines()[1]
    assert unit == f"unit {reader.page.locator('.unit-number').input_value()}"


def test_play_reads_again_and_the_theme_turns(reader, size):
    if size == "phone":
        pytest.skip("takes seconds, and is the same on a laptop")
    reader.page.locator(".play").click()
    assert reader.page.locator(".ruler li.unread").count() > 0
    reader.page.wait_for_function("() => !document.querySelector('.ruler li.unread')")
    assert reader.page.locator(".explorer .ruler li").count() == 13
    before = reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    reader.page.locator(".theme").click()
    reader.wait()
    assert before != reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")


def test_what_was_left_out_cannot_be_chosen_and_is_explained(browser, tmp_path):
    rng = np.random.default_rng(0)
    states = {
        name: rng.normal(size=(20, 30, 96))
        for name in ("cell_states", "hidden_states", "candidates")
    }
    path = write_report(
        tmp_path / "r.html", title="t", tree=tree(lstm=dataset(states)), max_bytes=190_000
    )
    page = browser.new_page()
    reader = Explorer(page, path)
    assert "units are here" in reader.text(".left-out")
    reader.choose("state", "candidates")
    reader.choose("sample", 19)
    assert page.locator("input[name=state][value=cell_states]").is_checked()
    assert page.locator("input[name=state][value=candidates]").is_disabled()
    reader.point(0, 0, rows=int(reader.text(".units").split()[0]))
    number, unit, _ = reader.text(".explorer .tip").splitlines()
    assert "±" in number
    value, error = shown_number(number)
    truth = states["cell_states"][19, 0, int(unit.removeprefix("unit "))]
    assert abs(value - truth) <= error < 0.05
    assert reader.troubles == []
    page.close()


def test_the_smallest_and_the_emptiest_do_no_harm(browser, tmp_path):
    smallest = dataset({"hidden_states": np.ones((1, 1, 1))})
    states = lstm_states(3, 5, 4)
    for state in states.values():
        state[1], state[2, :2], state[0, 3, 1] = np.nan, np.nan, np.inf
    emptiest = dataset(states, [list("abcde"), [], ["", "", "c", "d", "e"]])
    path = write_report(
        tmp_path / "r.html", title="t", tree=tree(smallest=smallest, emptiest=emptiest)
    )
    page = browser.new_page()
    reader = Explorer(page, path)
    for layer, sample, tip in [(0, 0, "+1.000"), (1, 0, "not finite"), (1, 1, "masked")]:
        reader.choose("layer", layer)
        reader.choose("sample", sample)
        reader.drag(0, 0)
        rows = int(reader.text(".units").split()[0])
        steps = page.locator(".explorer .ruler li").count()
        seen = set()
        for row in range(rows):
            page.mouse.click(*reader.cell(row, max(0, steps - 2), rows=rows))
            reader.wait()
            seen.add(reader.text(".explorer .tip").splitlines()[0])
        assert tip in seen
    assert reader.troubles == []
    page.close()


def test_without_javascript_there_is_a_still_picture(browser, report):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(report.as_uri())
    assert page.locator(".map picture").bounding_box()["height"] > 90
    assert "this is a still picture of cell_states" in page.locator("figcaption").inner_text()
    assert page.locator(".samples li").count() == 4
    assert page.locator(".card.unit").is_hidden()
    page.close()
