"""Drives the explorer page in a real browser: check_page.py PAGES_DIR BROWSER. Screenshots are left in PAGES_DIR."""
import csv, glob, html, io, json, os, re, shutil, struct, subprocess, sys, tempfile, time, traceback
import xml.etree.ElementTree as ElementTree
from playwright.sync_api import sync_playwright
import make_page
from browser import (BROWSER, FOLDER, SMALL, VIEWS, axis, equal, merged, near, opened, renderer_memory, report, saved, settled, state,
                     text, until, weight_shown)

HERE = os.path.dirname(os.path.abspath(__file__))
ONLY = os.environ.get("PAGE_ONLY", "") # a part of a name: these checks alone
ASSETS, EMBED = os.path.join(HERE, "../../src/explain/page"), os.path.join(HERE, "../../tools/embed")
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


# ---- what the page holds

@check
def quiet_in_every_view(browser):
    for name in ("small.html", "plain.html", "big.html", "wide.html"):
        for view in VIEWS:
            with opened(browser, name, "v=" + view) as page:
                settled(page)


@check
def content_policy_forbids_everything_outside(browser):
    with opened(browser, "small.html") as page:
        policy = page.locator("meta[http-equiv]").get_attribute("content")
        assert policy.startswith("default-src 'none'"), policy
        equal(page.locator("link[href]:not([href^='data:']), script[src], img, iframe, object").count(), 0, "outside references")


@check
def hostile_text_stays_text(browser):
    for view in VIEWS:
        with opened(browser, "small.html", "v=" + view) as page:
            settled(page)
            equal(page.locator("img, b").count(), 0, "elements made from data")
            assert make_page.HOSTILE in page.title() and make_page.HOSTILE in text(page, "#title")
            assert make_page.HOSTILE in text(page, "#provenance")
    with opened(browser, "small.html", "v=text&words=0") as page:
        settled(page)
        labels = page.locator("#words-box .word").all_text_contents()
        equal(len(labels), len(SMALL["meta"]["sequences"][0]["start"]), "words on screen")
        assert "⟨202E⟩" in "".join(labels), "a bidirectional override must be shown, not obeyed"
        assert "\u202e" not in "".join(labels)


@check
def title_classes_and_caution_are_on_the_page(browser):
    with opened(browser, "small.html") as page:
        settled(page)
        equal(page.locator(".class .num").first.text_content(), "71.0 %")
        assert "predicted" in page.locator(".class.chosen").text_content()
        assert "true label" in text(page, ".classes")
        assert "Attention is not by itself an explanation" in text(page, "footer")
        equal(page.locator(".bars thead th").all_text_contents(), ["Word", "Attention", "Gradient × attention"])
        equal(page.locator(".bars tbody tr").count(), len(axis()), "rows of the comparison")


# ---- numbers against plain loops over the generator's rows

@check
def merged_words_sum_keys_and_average_queries(browser):
    for hide in (False, True):
        rows = merged(8, True, hide)
        with opened(browser, "small.html", "v=matrix&L=1&H=2&words=1&hide=%d" % hide) as page:
            settled(page)
            page.locator("#canvas").focus()
            page.keyboard.press("Control+Home")
            for q, k, keys in ((0, 0, []), (1, 0, ["ArrowDown"]), (1, 1, ["ArrowRight"]), (11, 1, ["PageDown"]), (11, 0, ["Home"]),
                               (11, len(rows) - 1, ["End"]), (len(rows) - 1, len(rows) - 1, ["Control+End"])):
                for key in keys:
                    page.keyboard.press(key)
                page.wait_for_timeout(60)
                near(weight_shown(page), rows[q][k], 6e-5, "weight of %d, %d, hide %s" % (q, k, hide))
                assert "row %d" % q in text(page, "#readout") and "column %d" % k in text(page, "#readout")
            assert "row sum 1.0000" in text(page, "#readout"), text(page, "#readout")


@check
def top_table_is_the_sorted_row(browser):
    with opened(browser, "small.html", "v=heads&L=0&H=4&q=5&words=0") as page:
        settled(page)
        row = SMALL["rows"][4][5]
        order = sorted(range(len(row)), key=lambda k: -row[k])[:10]
        shown = [int(x) for x in page.locator("#row-body .at").all_text_contents()]
        weights = [float(x.split()[0]) / 100 for x in page.locator("#row-body .weight").all_text_contents()]
        equal(shown[:3], order[:3], "keys by weight")
        for k, found in zip(shown, weights):
            near(found, row[k], 0.004 * max(row) + 5e-4, "weight of key %d" % k)
        assert "other keys" in text(page, "#row-sum")


@check
def uncompressed_page_shows_the_same(browser):
    seen = []
    for name in ("small.html", "plain.html"):
        with opened(browser, name, "v=matrix&L=2&H=3&q=4&k=6") as page:
            settled(page)
            seen.append(text(page, "#readout") + text(page, "#row"))
    equal(seen[0], seen[1], "deflate and none")


@check
def saved_numbers_are_the_matrix(browser):
    rows = merged(8)
    with opened(browser, "small.html", "v=matrix&L=1&H=2") as page:
        settled(page)
        table = list(csv.reader(io.StringIO(saved(page, "csv").decode())))
        equal(len(table), len(rows) + 1, "csv rows")
        for q, row in enumerate(rows):
            for k, p in enumerate(row):
                near(float(table[q + 1][k + 1]), p, 1e-6, "csv %d, %d" % (q, k))
        assert not any(cell[:1] in "=+-@" for cell in table[0][1:]), "a label that a spreadsheet would run"
        data = json.loads(saved(page, "json"))
        near(data["weights"][3][2], rows[3][2], 1e-6, "json")
        npy = saved(page, "npy")
        assert npy[:8] == b"\x93NUMPY\x01\x00"
        size = struct.unpack("<H", npy[8:10])[0]
        equal((10 + size) % 64, 0, "npy alignment")
        assert ("(%d, %d)" % (len(rows), len(rows))).encode() in npy[:10 + size]
        near(struct.unpack("<%df" % (len(rows) ** 2), npy[10 + size:])[len(rows) + 1], rows[1][1], 1e-6, "npy")


@check
def saved_pictures_are_pictures(browser):
    for view in VIEWS:
        with opened(browser, "small.html", "v=" + view) as page:
            settled(page)
            svg = saved(page, "svg")
            names = {node.tag.split("}")[1] for node in ElementTree.fromstring(svg).iter()}
            assert names <= {"svg", "rect", "text", "image", "path"} and "text" in names, names
            if view in ("matrix", "text", "heads"):
                assert b"pale is an even share" in svg, "a legend in the picture of " + view
            png = saved(page, "png")
            equal(png[:8], b"\x89PNG\r\n\x1a\n")
            width, height = struct.unpack(">II", png[16:24])
            assert width >= 840 and height >= 100, (width, height)
            with open(os.path.join(FOLDER, "saved-%s.png" % view), "wb") as f:
                f.write(png)
            with open(os.path.join(FOLDER, "saved-%s.svg" % view), "wb") as f:
                f.write(svg)


# ---- keyboard and state

@check
def keyboard_reaches_everything(browser):
    with opened(browser, "small.html") as page:
        settled(page)
        for key, view in (("2", "heads"), ("3", "matrix"), ("4", "text"), ("5", "lines"), ("1", "prediction")):
            page.keyboard.press(key)
            equal(state(page)["v"], view, "key " + key)
            assert page.locator("#panel-" + view).is_visible()
        page.keyboard.press("ArrowRight")
        equal(state(page)["v"], "heads", "arrow on the tabs")
        page.keyboard.press("End")
        equal(state(page)["v"], "lines", "End on the tabs")
        page.keyboard.press("4")
        before = state(page)
        for key, name, value in (("]", "L", "2"), ("[", "L", "1"), (".", "H", "3"), (",", "H", "2")):
            page.keyboard.press(key)
            equal(state(page)[name], value, "key " + key)
        equal(state(page), before, "back where it began")
        for key, box in (("w", "#words"), ("h", "#hide")):
            was = page.locator(box).is_checked()
            page.keyboard.press(key)
            equal(page.locator(box).is_checked(), not was, "key " + key)
        for scale in ("log", "linear", "sqrt"):
            page.keyboard.press("l")
            equal(page.locator("#scale").input_value(), scale, "key l")
        page.keyboard.press("r")
        equal(state(page).get("c"), "rollout", "key r")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        assert page.locator("#help").is_hidden()
        page.keyboard.press("s")
        assert page.locator("#save").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        equal(page.evaluate("document.activeElement.id"), "find")
        page.keyboard.type("crash")
        settled(page)
        assert "crash" in text(page, "#row-title"), text(page, "#row-title")
        page.keyboard.press("Escape")
        page.keyboard.press("3")
        page.keyboard.press("Escape")
        equal(state(page)["v"], "text", "Esc goes back")


@check
def single_keys_can_be_switched_off(browser):
    with opened(browser, "small.html", "v=heads") as page:
        settled(page)
        page.keyboard.press("?")
        page.locator("#keys-on").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("3")
        equal(state(page)["v"], "heads")


@check
def heads_grid_has_one_tab_stop(browser):
    with opened(browser, "small.html", "v=heads") as page:
        settled(page)
        equal(page.locator("#grid [tabindex='0']").count(), 1)
        equal(page.locator("#grid [role=gridcell]").count(), 29)
        page.locator("#grid [tabindex='0']").focus()
        page.keyboard.press("Control+Home")
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
        equal(page.evaluate("document.activeElement.getAttribute('aria-label')"), "layer 1, head 0")
        equal(page.locator("#grid [tabindex='0']").count(), 1, "after moving")
        page.keyboard.press("Space")
        equal((state(page)["L"], state(page)["H"]), ("1", "0"))
        page.keyboard.press("Enter")
        equal(state(page)["v"], "matrix")


@check
def heads_sort_and_filter(browser):
    values = SMALL["meta"]["maps"][0]["stats"][2]["values"]
    names = ["layer %d, head %d" % (n // 6, n % 6) for n in range(24)] + ["Rollout"] + ["Mean of layer %d" % l for l in range(4)]
    with opened(browser, "small.html", "v=heads") as page:
        settled(page)
        page.locator("#sort").select_option("previous")
        order = [a.split(", 0.")[0] for a in page.locator("#grid [role=gridcell]").evaluate_all("c => c.map((x) => x.getAttribute('aria-label'))")]
        best = max(range(29), key=lambda n: values[n])
        assert order[0].startswith(names[best]), (order[0], names[best])
        page.locator("#least").fill("50")
        limit = min(values) + (max(values) - min(values)) / 2
        equal(page.locator("#grid [role=gridcell]").count(), sum(v >= limit for v in values), "heads that pass")
        page.locator("#cells").select_option("pair")
        page.wait_for_timeout(300)
        assert "%" in page.locator("#grid .cell-note").first.text_content()


@check
def live_region_speaks_the_cell(browser):
    with opened(browser, "small.html", "v=matrix&L=1&H=2") as page:
        settled(page)
        page.locator("#canvas").focus()
        for _ in range(6):
            page.keyboard.press("ArrowDown")
        page.wait_for_timeout(400)
        assert re.search(r"row 7 .*→ column \d+ .*rank \d+ of 1\d", text(page, "#live")), text(page, "#live")
        equal(page.locator("#live").get_attribute("aria-live"), "polite")


@check
def pointer_chooses_and_zooms(browser):
    with opened(browser, "small.html", "v=matrix&L=1&H=2") as page:
        settled(page)
        box = page.locator("#canvas").bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.8)
        page.wait_for_timeout(100)
        assert state(page)["q"] != "1" and "k" in state(page), page.url
        page.locator("#zoom-in").click()
        page.locator("#zoom-in").click()
        assert float(state(page)["zoom"]) > 1.4, page.url
        page.locator("#zoom-fit").click()
        assert "zoom" not in state(page)


@check
def link_restores_the_state(browser):
    with opened(browser, "small.html") as page:
        settled(page)
        for key in ("3", "]", ".", "w", "h", "l"):
            page.keyboard.press(key)
        page.locator("#canvas").focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowRight", "+"):
            page.keyboard.press(key)
        page.locator("#theme").click()
        settled(page)
        link, shown = page.url.split("#")[1], text(page, "#readout") + text(page, "#row")
    with opened(browser, "small.html", link) as page:
        settled(page)
        equal(page.url.split("#")[1], link, "link")
        equal(text(page, "#readout") + text(page, "#row"), shown, "what is shown")
        page.evaluate("location.hash = 'v=text&L=0&H=1&q=3'")
        settled(page)
        equal(page.locator("#panel-text").is_visible(), True, "a changed hash is followed")
    with opened(browser, "small.html", "v=matrix&c=mean&L=1") as page:
        settled(page)
        equal(text(page, "#matrix-title"), "Mean of layer 1")
        equal((state(page)["c"], state(page)["L"]), ("mean", "1"))
        page.locator("#layer").select_option("3")
        equal(text(page, "#matrix-title"), "Layer 3, head 0", "a layer chosen after a combination")


@check
def bad_links_fall_back(browser):
    for link in ("v=__proto__&scale=constructor&L=99&H=-1&q=1e9&k=NaN&m=7&zoom=Infinity&least=-5&sort=x", "v=%E0%A4%A", "&&&=", "q=-3&k=2.5"):
        with opened(browser, "small.html", link) as page:
            settled(page)
            assert page.locator("main section:visible").count() == 1


@check
def damaged_payload_is_said(browser):
    with open(os.path.join(FOLDER, "small.html"), "rb") as f:
        good = f.read()
    cases = {
        "version": (good.replace(b'"version": 1', b'"version": 99'), "newer than this page"),
        "meta": (good.replace(b'id="fv-meta"', b'id="fv-gone"'), "carries no data"),
        "block": (re.sub(b'(id="fv-exact-0-8">)[^<]*', rb"\g<1>eJwDAAAAAAE=", good), "expected"),
        "base64": (re.sub(b'(id="fv-exact-0-8">)[^<]*', rb"\g<1>!!!!", good), "cannot show"),
    }
    for name, (data, words) in cases.items():
        path = os.path.join(FOLDER, "damaged.html")
        with open(path, "wb") as f:
            f.write(data)
        with opened(browser, "damaged.html", "v=matrix", quiet=False) as page:
            page.wait_for_timeout(300)
            assert page.locator("#note").is_visible(), name
            assert words in text(page, "#note"), (name, text(page, "#note"))
    os.remove(path)


@check
def rectangular_attention_opens(browser):
    with opened(browser, "wide.html", "v=matrix&words=0") as page:
        settled(page)
        page.locator("#canvas").focus()
        page.keyboard.press("Control+End")
        page.wait_for_timeout(60)
        found = re.search(r"row (\d+).*column (\d+)", text(page, "#readout"))
        sizes = [len(make_page.sequence(t)["start"]) for t in ("die Katze sass", "the cat sat on a mat today")]
        equal([int(found.group(1)), int(found.group(2))], [s - 1 for s in sizes])
        assert page.locator("#tab-prediction").is_hidden()
        page.keyboard.press("4")
        settled(page)
        equal(page.locator("#words-box .word").count(), sizes[1], "keys shaded")
        equal(page.locator("#chosen option").count(), sizes[0], "queries to choose from")
        page.locator("#chosen").select_option("2")
        settled(page)
        equal(state(page)["q"], "2")


@check
def model_without_attention_shows_its_prediction(browser):
    with opened(browser, "linear.html", "v=matrix&L=3") as page:
        until(page, "document.documentElement.dataset.ready === 'yes'")
        equal(page.locator("[role=tab]:visible").all_text_contents(), ["Prediction"])
        equal(page.locator(".bars tbody tr").count(), len(axis()))
        for key in "[],.234rwhl":
            page.keyboard.press(key)
        assert page.locator("aside").is_hidden() and page.locator("#panel-prediction").is_visible()
        assert b"weights" in saved(page, "csv")
        npy = saved(page, "npy")
        assert ("(1, %d)" % len(axis(False, True))).encode() in npy, npy[:128]
        page.keyboard.press("Escape")
        report(page, "linear")


# ---- what it says about what it shows

@check
def uniform_attention_is_pale_and_said(browser):
    colours = []
    for scale in ("linear", "log", "sqrt"):
        with opened(browser, "uniform.html", "v=matrix&L=0&H=0&words=0&scale=" + scale) as page:
            settled(page)
            assert "Nearly uniform" in text(page, "#matrix-uniform")
            assert "nearly uniform" in text(page, "#row-caption")
            colours.append(page.evaluate("(() => { const c = document.getElementById('canvas'); return Array.from("
                                         "c.getContext('2d').getImageData(c.height - 40, c.height - 40, 1, 1).data) })()"))
            page.keyboard.press("2")
            settled(page)
            assert "1 of 2 heads attend nearly uniformly" in text(page, "#heads-lead"), text(page, "#heads-lead")
    assert min(colours[0][:3]) > 195, colours
    equal(colours[1:], colours[:1] * 2, "the even share by scales")


@check
def what_was_not_seen_is_said_in_every_view(browser):
    for view in ("heads", "matrix", "text", "lines"):
        with opened(browser, "uniform.html", "v=" + view) as page:
            settled(page)
            said = text(page, "#limits")
            assert "bytes were cut off" in said and "2 of 12 tokens are not in the vocabulary" in said and "‘two’" in said, said
            assert page.locator("#limits").is_visible()
    with opened(browser, "small.html") as page:
        settled(page)
        assert page.locator("#limits").is_hidden()


@check
def right_to_left_text_runs_right_to_left(browser):
    with opened(browser, "hebrew.html", "v=text") as page:
        settled(page)
        equal(page.locator("#words-box").get_attribute("dir"), "rtl")
        places = page.evaluate("Array.from(document.querySelectorAll('#words-box .word:not(.special)'), (w) => w.getBoundingClientRect().left)")
        equal(places, sorted(places, reverse=True), "words from right to left")
        box = page.locator("#words-box").bounding_box()
        assert places[0] > box["x"] + box["width"] / 2, "the first word is at the right"
        page.locator("#words-box .word").nth(1).click()
        page.keyboard.press("ArrowLeft")
        equal(state(page)["q"], "2", "left is onwards")
        with open(os.path.join(FOLDER, "saved-hebrew.svg"), "wb") as f:
            f.write(saved(page, "svg"))


@check
def bars_of_the_row_start_at_one_place(browser):
    with opened(browser, "small.html", "v=matrix&L=1&H=2&q=5") as page:
        settled(page)
        lefts = page.evaluate("Array.from(document.querySelectorAll('.weight-track'), (e) => Math.round(e.getBoundingClientRect().left))")
        assert len(lefts) > 5 and len(set(lefts)) == 1, lefts


@check
def a_search_without_a_match_is_seen(browser):
    with opened(browser, "small.html", "v=text") as page:
        settled(page)
        page.keyboard.press("/")
        page.keyboard.type("zebra")
        assert page.locator("#found").is_visible()
        equal(text(page, "#found"), "no word matches")
        page.locator("#find").fill("game")
        assert "match 1 of" in text(page, "#found"), text(page, "#found")


@check
def prediction_numbers_are_the_values_per_word(browser):
    with opened(browser, "small.html", "v=prediction") as page:
        settled(page)
        npy = saved(page, "npy")
        size = struct.unpack("<H", npy[8:10])[0]
        count = len(axis())
        assert ("(2, %d)" % count).encode() in npy[:10 + size], npy[:100]
        values = SMALL["meta"]["attributions"][1]["values"]
        found = struct.unpack("<%df" % (2 * count), npy[10 + size:])
        for i, unit in enumerate(axis()):
            near(found[count + i], sum(values[k] for k in unit), 1e-6, "value of word %d" % i)


# ---- lines, and two side by side

@check
def lines_join_both_sides(browser):
    with opened(browser, "wide.html", "v=lines&words=0") as page:
        settled(page)
        sizes = [len(make_page.sequence(t)["start"]) for t in ("die Katze sass", "the cat sat on a mat today")]
        equal(page.locator("#lines-left li").count(), sizes[0], "queries")
        equal(page.locator("#lines-right li").count(), sizes[1], "keys")
        drawn = "Number(document.getElementById('lines-canvas').dataset.lines)"
        one = page.evaluate(drawn)
        assert one >= sizes[0], one
        page.locator("#lit-all").click()
        until(page, drawn + " > %d" % one)
        equal(page.locator("#lit [aria-pressed=true]").count(), 2, "heads of a layer")
        equal(state(page)["lit"], "0.1")
        two = page.evaluate(drawn)
        page.locator("#mass").fill("20")
        until(page, drawn + " < %d" % two)
        page.locator("#mass").fill("100")
        until(page, drawn + " === %d" % (2 * sizes[0] * sizes[1]))
        page.locator("#lines-left [tabindex='0']").focus()
        page.keyboard.press("End")
        equal(state(page)["q"], str(sizes[0] - 1))
        page.keyboard.press("ArrowUp")
        equal(state(page)["q"], str(sizes[0] - 2))
        svg = saved(page, "svg")
        equal(svg.count(b"<path"), 2 * sizes[0] * sizes[1], "lines of the picture")
        page.keyboard.press("Escape")
        page.locator("#lit button").first.click()
        equal(state(page)["lit"], "1", "a head is switched off")


@check
def lines_keep_the_share_that_is_asked(browser):
    with opened(browser, "small.html", "v=lines&L=0&H=4&words=0&mass=50&q=5") as page:
        settled(page)
        expected = 0
        for row in SMALL["rows"][4]:
            held = 0
            for n, p in enumerate(sorted(row, reverse=True)):
                if held >= 0.5 * sum(row) or n >= 24:
                    break
                held += p
                expected += 1
        found = page.evaluate("Number(document.getElementById('lines-canvas').dataset.lines)")
        near(found, expected, 3, "lines that hold half of each row")


@check
def lines_of_a_long_text_are_few(browser):
    with opened(browser, "big.html", "v=lines&words=0") as page:
        settled(page)
        until(page, "document.getElementById('lines-canvas').dataset.drawn !== undefined")
        assert page.evaluate("Number(document.getElementById('lines-canvas').dataset.lines)") <= 24
        assert page.evaluate("document.getElementById('lines-canvas').height") < 3000


@check
def two_matrices_side_by_side(browser):
    with opened(browser, "small.html", "v=matrix&L=1&H=2&beside=0.3&q=4&k=6&words=0") as page:
        settled(page)
        assert page.locator("#beside-stage").is_visible()
        left, right = page.locator("#canvas").bounding_box(), page.locator("#beside-canvas").bounding_box()
        assert left["x"] + left["width"] <= right["x"], "one beside the other"
        shown = float(re.search(r"here: ([\d.]+) %", text(page, "#beside-said")).group(1)) / 100
        near(shown, SMALL["rows"][3][4][6], 1e-3, "the same cell of the other head")
        page.locator("#beside").select_option("")
        page.wait_for_timeout(80)
        assert page.locator("#beside-stage").is_hidden()
        page.locator("#beside").select_option("0.24")
        page.wait_for_timeout(80)
        equal(text(page, "#beside-title"), "Rollout")
        page.locator("#canvas").focus()
        page.keyboard.press("ArrowRight")
        equal(state(page)["k"], "7")


@check
def every_head_is_in_sight_on_a_phone(browser):
    for name, count in (("small.html", 29), ("big.html", 144)):
        with opened(browser, name, "v=heads", width=390, height=800) as page:
            settled(page)
            boxes = page.evaluate("Array.from(document.querySelectorAll('#grid [role=gridcell]'), (e) => {const b = e.getBoundingClientRect(); return [b.left, b.right]})")
            equal(len(boxes), count)
            assert all(0 <= left and right <= 390 for left, right in boxes), [b for b in boxes if b[1] > 390][:3]


# ---- languages

def strings_of_the_page():
    with open(os.path.join(ASSETS, "05-strings.js")) as f:
        table = dict(json.loads("[%s, %s]" % pair) for pair in re.findall(r'^    ("(?:[^"\\]|\\.)*"): ("(?:[^"\\]|\\.)*"),$', f.read(), re.M))
    used = set()
    for name in sorted(os.listdir(ASSETS)):
        with open(os.path.join(ASSETS, name)) as f:
            source = f.read()
        if name.endswith(".js"):
            used |= {json.loads(s) for s in re.findall(r'(?<![\w.])t\(\s*("(?:[^"\\]|\\.)*")', source)}
        if name.endswith(".html"):
            used |= {html.unescape(s.strip()) for s in re.findall(r"data-t(?=[ >])[^>]*>([^<]*)<", source)}
            used |= {s for tag in re.findall(r"<[^>]*data-t-label[^>]*>", source) for s in re.findall(r'aria-label="([^"]*)"', tag)}
            used |= {s for tag in re.findall(r"<[^>]*data-t-placeholder[^>]*>", source) for s in re.findall(r'placeholder="([^"]*)"', tag)}
    return table, used


@check
def both_languages_are_complete(browser):
    table, used = strings_of_the_page()
    assert len(table) > 200, len(table)
    equal(sorted(used - set(table)), [], "texts of the page without Chinese")
    library = ""
    for name in glob.glob(os.path.join(HERE, "../../src/explain/*.c")) + glob.glob(os.path.join(HERE, "../../cli/cmd_*.c")):
        with open(name) as f:
            library += re.sub(r'"\s*\n\s*"', "", f.read())
    captions = set(re.findall(r'STAT\("\w+", \w+, \w+, "([^"]*)", "(?:[^"]*)",\s*"(?:[^"]*)"\)', library))
    captions |= set(re.findall(r'STAT\("\w+", \w+, \w+, "(?:[^"]*)", "(?:[^"]*)",\s*"([^"]*)"\)', library))
    assert len(captions) >= 18, captions
    equal(sorted(captions - set(table)), [], "captions of statistics without Chinese")
    equal([k for k in set(table) - used if '"%s"' % k not in library and k not in ("combined",)], [], "texts that nothing says")
    for english, chinese in table.items():
        equal(sorted(re.findall(r"\{\d\}", english)), sorted(re.findall(r"\{\d\}", chinese)), "places of " + english)


@check
def the_page_speaks_the_readers_language(browser):
    table, _ = strings_of_the_page()
    for view in VIEWS:
        with opened(browser, "small.html", "v=" + view, locale="zh-CN") as page:
            settled(page)
            equal(page.locator("html").get_attribute("lang"), "zh-CN")
            equal(text(page, "#tab-lines"), "连线")
            left = page.evaluate("Array.from(document.querySelectorAll('main *, header *, aside *'), (e) => e.children.length ? '' : e.textContent.trim())")
            assert not [s for s in left if s in table and s != table[s] and s not in (".", ", ")], [s for s in left if s in table]
            report(page, view + " in Chinese")
            page.screenshot(path=os.path.join(FOLDER, "shot-%s-zh.png" % view), full_page=True)
            page.locator("#lang").click()
            settled(page)
            equal(page.locator("html").get_attribute("lang"), "en")
            equal(text(page, "#tab-lines"), "Lines")
            equal(state(page)["lang"], "en", "the button's choice is in the link")
    with opened(browser, "small.html", "v=heads&lang=zh") as page:
        settled(page)
        equal(text(page, "#tab-heads"), "注意力头", "a link may choose")


# ---- size, speed, access

@check
def big_page_fits_and_opens_fast(browser):
    size = os.path.getsize(os.path.join(FOLDER, "big.html"))
    assert size <= 16 << 20, size
    for name, view in (("big.html", "heads"), ("big.html", "prediction"), ("huge.html", "heads")):
        best, memory = 99, 0
        for _ in range(3):
            began = time.time()
            with opened(browser, name, "v=" + view) as page:
                done = "document.getElementById('row').dataset.row !== undefined"
                if view == "heads":
                    done += " && document.getElementById('grid').dataset.painted === 'yes'"
                until(page, done)
                best = min(best, time.time() - began)
                memory = max(memory, renderer_memory(browser))
                nodes = page.evaluate("document.getElementsByTagName('*').length")
        print("    %s, %s: %.2f s, %.0f MB, %d elements" % (name, view, best, memory / 1e6, nodes))
        assert best < 2, "%s opened in %.2f s" % (name, best)
        assert nodes < 5000, nodes
        assert memory < 300e6 or name == "huge.html", memory


@check
def big_text_view_has_one_element_per_word(browser):
    with opened(browser, "big.html", "v=text&words=0") as page:
        settled(page)
        equal(page.locator("#words-box .word").count(), 512)
        equal(page.locator("#words-box [tabindex='0']").count(), 1)
        equal(page.locator("#words-box .unread").count(), 1, "the text after the last token")
        began = time.time()
        page.locator("#words-box .word").first.click()
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        equal(state(page)["q"], "20")
        print("    21 words chosen in %.2f s" % (time.time() - began))
        assert time.time() - began < 6


@check
def axe_finds_nothing_serious(browser):
    for scheme in ("light", "dark"):
        for view in VIEWS:
            with opened(browser, "small.html", "v=" + view + ("&stat=entropy&least=40" if view == "heads" else ""), scheme) as page:
                settled(page)
                report(page, view + " " + scheme)
                if view == "prediction":
                    for dialog in ("save", "help"):
                        page.locator("#%s-open" % dialog).click()
                        report(page, dialog + " " + scheme)
                        page.keyboard.press("Escape")


@check
def axe_finds_nothing_serious_in_a_long_page(browser):
    for view in VIEWS:
        with opened(browser, "big.html", "v=" + view, "dark", height=700) as page:
            settled(page)
            report(page, view)


@check
def narrow_screens_need_no_sideways_scroll(browser):
    for view in VIEWS:
        for width in (320, 390, 768):
            with opened(browser, "small.html", "v=" + view, width=width, height=800) as page:
                settled(page)
                wide = page.evaluate("document.scrollingElement.scrollWidth")
                assert wide <= width, "%s at %d is %d wide" % (view, width, wide)


@check
def reduced_motion_and_theme_are_obeyed(browser):
    with opened(browser, "small.html", reduced_motion="reduce", scheme="dark") as page:
        settled(page)
        equal(page.locator("#save-open").evaluate("b => getComputedStyle(b).transitionDuration"), "0s")
        equal(page.locator("html").get_attribute("data-theme"), "dark")
        page.locator("#theme").click()
        equal(page.locator("html").get_attribute("data-theme"), "light")


@check
def screenshots(browser):
    for scheme in ("light", "dark"):
        for view in VIEWS:
            with opened(browser, "small.html", "v=" + view, scheme) as page:
                settled(page)
                page.wait_for_timeout(200)
                page.screenshot(path=os.path.join(FOLDER, "shot-%s-%s.png" % (view, scheme)), full_page=True)


# ---- the embedding tool

@check
def embed_keeps_bytes_and_refuses_breakouts(browser):
    parts = make_page.page_parts(ASSETS, EMBED)
    whole = parts["before"] + parts["after"]
    for name in os.listdir(ASSETS):
        with open(os.path.join(ASSETS, name), "rb") as f:
            data = f.read()
        if not name.endswith(".html"):
            assert data in whole, name + " is not in the page byte for byte"
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(ASSETS, os.path.join(folder, "page"))
        bad = os.path.join(copy, "99-bad.js")
        with open(bad, "w") as f:
            f.write('const x = "</script>";\n')
        files = [os.path.join(copy, n) for n in os.listdir(copy)]
        done = subprocess.run([EMBED] + files, capture_output=True, text=True)
        equal(done.returncode, 1, "embed of a breakout")
        assert "closes its element" in done.stderr


def main():
    passed = failed = 0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER)
        for function in CHECKS:
            name = function.__name__.replace("_", " ")
            if ONLY and ONLY not in name:
                continue
            try:
                function(browser)
                passed += 1
                print("ok    " + name)
            except Exception:
                failed += 1
                print("FAIL  " + name + "\n" + traceback.format_exc(limit=-2))
        browser.close()
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
