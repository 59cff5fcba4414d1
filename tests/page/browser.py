"""Opens pages in the browser, watches what they must not do, and computes in plain loops what they should show."""
import json, os, re, sys, time
from contextlib import contextmanager
from axe_playwright_python.sync_playwright import Axe

FOLDER, BROWSER = sys.argv[1], sys.argv[2]
VIEWS = ["prediction", "heads", "matrix", "text", "lines"]
with open(os.path.join(FOLDER, "small.json")) as f:
    SMALL = json.load(f)


def equal(found, expected, what=""):
    assert found == expected, "%s: found %r, expected %r" % (what, found, expected)


def near(found, expected, tolerance, what=""):
    assert abs(found - expected) <= tolerance, "%s: found %r, expected %r +- %r" % (what, found, expected, tolerance)


class Watch:
    """Everything a page must not do."""
    def __init__(self, context):
        self.requests, self.errors = [], []
        context.on("request", lambda r: self.requests.append(r.url))

    def page(self, page):
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("dialog", lambda d: (self.errors.append("dialog " + d.message), d.dismiss()))

    def quiet(self):
        equal(self.errors, [], "console")
        outside = [u for u in self.requests if not u.startswith(("file:", "data:", "blob:"))]
        equal(outside, [], "requests")
        equal(len([u for u in self.requests if u.startswith("file:") and not u.split("#")[0].endswith(".html")]), 0, "file requests")


@contextmanager
def opened(browser, name, hash="", scheme="light", width=1360, height=850, quiet=True, **more):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height}, accept_downloads=True, **more)
    watch = Watch(context)
    page = context.new_page()
    watch.page(page)
    page.goto("file://" + os.path.join(FOLDER, name) + "#" + hash)
    try:
        yield page
        if quiet:
            watch.quiet()
            assert page.locator("#note").is_hidden(), page.locator("#note").text_content()
    finally:
        context.close()


def until(page, condition, seconds=20):
    """Polls from here: the page's own policy forbids the polling that playwright would put into it."""
    end = time.time() + seconds
    while not page.evaluate(condition):
        assert time.time() < end, "never: " + condition
        time.sleep(0.01)


def settled(page):
    """Waits until the row table and the open view show the current state."""
    until(page, "document.documentElement.dataset.ready === 'yes' && document.getElementById('row').dataset.row !== undefined")
    page.wait_for_timeout(120)


def state(page):
    return dict(part.split("=", 1) for part in page.url.split("#")[1].split("&"))


def text(page, selector):
    return re.sub("[\u2068\u2069]", "", page.locator(selector).text_content())


def axis(words=True, hide=False):
    """Units as lists of tokens, computed here from the format alone."""
    seq = SMALL["meta"]["sequences"][0]
    units = []
    for i, word in enumerate(seq["word"]):
        if hide and i in seq["special"]:
            continue
        if words and units and word >= 0 and seq["word"][units[-1][0]] == word:
            units[-1].append(i)
        else:
            units.append([i])
    return units


def merged(n, words=True, hide=False):
    units = axis(words, hide)
    kept = [k for u in units for k in u]
    rows = []
    for unit in units:
        row = [0.0] * len(units)
        for q in unit:
            total = sum(SMALL["rows"][n][q][k] for k in kept) if hide else 1
            for j, keys in enumerate(units):
                row[j] += sum(SMALL["rows"][n][q][k] for k in keys) / total / len(unit)
        rows.append(row)
    return rows


def weight_shown(page):
    return float(re.search(r"weight ([\d.]+)(?:e−(\d+))?", text(page, "#readout")).group(1))


def saved(page, kind):
    if not page.locator("#save").evaluate("d => d.open"):
        page.locator("#save-open").click()
    with page.expect_download() as download:
        page.locator("[data-save=%s]" % kind).click()
    with open(download.value.path(), "rb") as f:
        return f.read()


def report(page, where):
    found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical", "moderate")]
    assert not found, "%s: %s" % (where, [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found])


def renderer_memory(browser):
    """Resident bytes of the largest renderer process."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = [0]
    for process in processes:
        if process["type"] == "renderer":
            with open("/proc/%d/status" % process["id"]) as f:
                sizes.append(int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024)
    return max(sizes)
