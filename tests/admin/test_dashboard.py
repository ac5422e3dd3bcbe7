"""The dashboard's files: how they are served, and what must hold in them."""

from __future__ import annotations

import re
from typing import cast

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.support import AdminTestCase
from xzgw.admin.dashboard import FILES, FOLDER, PAGE, POLICY, STATIC
from xzgw.core.english import TEXTS as SENTENCES
from xzgw.core.findings import Cause

OURS = [name for name in FILES if "/" not in name]
TEXT = re.compile(r'^  (\w+): \["((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\],$', re.MULTILINE)
SENTENCE = re.compile(r'^  (\w+): "((?:[^"\\]|\\.)*)",$', re.MULTILINE)
USED = re.compile(r'\b(?:t|word)\(\s*"(\w+)"')
MODULE_LINES = 250


def content(name: str) -> str:
    """A file as text."""
    return (STATIC / name).read_text("utf-8")


def texts() -> dict[str, tuple[str, str]]:
    """English and Chinese by key."""
    return {key: (english, chinese) for key, english, chinese in TEXT.findall(content("texts.js"))}


class ServingTests(AdminTestCase):
    """What callers get."""

    def test_page(self) -> None:
        """The page is there for all, token or not, and tells browsers to be strict with it."""
        for token in (None, "wrong"):
            answer = self.ask("GET", "/", token=token)
            self.assertEqual((answer.status, answer.body), (200, (STATIC / PAGE).read_bytes()))
            self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
            self.assertEqual(answer.headers["content-security-policy"], POLICY)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(self.wrong, [])

    def test_policy(self) -> None:
        """Nothing but what comes from the gateway, nothing inline, no frames around it."""
        rules = {rule.split()[0]: rule.split()[1:] for rule in POLICY.split("; ")}
        self.assertEqual(rules["default-src"], ["'none'"])
        for name in ("script-src", "style-src", "connect-src"):
            self.assertEqual(rules[name], ["'self'"])
        self.assertEqual(rules["frame-ancestors"], ["'none'"])
        self.assertEqual(rules["require-trusted-types-for"], ["'script'"])
        self.assertEqual(rules["trusted-types"], ["'none'"])

    def test_files(self) -> None:
        """Each file has its type."""
        types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        for name in FILES[1:]:
            answer = self.ask("GET", FOLDER + name, token=None)
            self.assertEqual((answer.status, answer.body), (200, (STATIC / name).read_bytes()))
            wanted = types.get(name.rpartition(".")[2], "text/plain")
            self.assertEqual(answer.headers["content-type"].partition(";")[0], wanted, name)
            self.assertEqual(answer.headers["cache-control"], "no-cache")

    def test_unchanged(self) -> None:
        """Who has the file already is told so, also behind a proxy that compresses."""
        path = FOLDER + "app.js"
        etag = self.ask("GET", path, token=None).headers["etag"]
        self.assertRegex(etag, '^"[0-9a-f]{32}"$')
        for known in (etag, f"W/{etag}", f'"older", {etag}'):
            answer = self.ask("GET", path, token=None, headers={"If-None-Match": known})
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertEqual(answer.headers["etag"], etag)
        for other in ('"older"', etag[:-2], b"\xff"):
            answer = self.ask("GET", path, token=None, headers={"If-None-Match": other})
            self.assertEqual(answer.status, 200)

    def test_head(self) -> None:
        """HEAD tells the length and sends nothing; strangers' are not logged."""
        with capturedLogs() as logs:
            answer = self.ask("HEAD", "/", token=None)
        self.assertEqual([formatEvent(event) for event in logs], [])
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["content-length"], str(len(content(PAGE).encode())))

    def test_methods(self) -> None:
        """Nothing else can be done with files."""
        for method in ("POST", "PUT", "DELETE"):
            for path in ("/", FOLDER + "app.js"):
                answer = self.ask(method, path, token=None)
                self.assertProblem(answer, 405, "no such method here")
                self.assertEqual(answer.headers["allow"], "GET, HEAD, OPTIONS")
        answer = self.ask("OPTIONS", "/", token=None)
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, HEAD, OPTIONS"))

    def test_other_paths(self) -> None:
        """No path leads to another file, and strangers do not learn which there are."""
        below = ["", "nothing.js", "uplot", "uplot/", "../dashboard.py", "%2e%2e/dashboard.py"]
        below += ["..%2fdashboard.py", "%2e%2e%2fapp.py", "uplot/../../app.py", "app.js/", "APP.JS"]
        below += ["/etc/passwd", "%2fetc%2fpasswd", "app.js%00", "index.html", "texts.js~"]
        paths = [FOLDER + name for name in below]
        for path in [*paths, "/dashboard", "//", "/index.html", "/./", "/%2e", "/static/app.js"]:
            self.assertEqual(self.ask("GET", path, token=None).status, 401, path)
            self.assertEqual(self.ask("GET", path).status, 404, path)


class ContentTests(SynchronousTestCase):
    """What must hold in the files themselves."""

    def test_all_are_served(self) -> None:
        """There is no file that is not served."""
        there = {
            path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()
        }
        self.assertEqual(there, set(FILES))

    def test_no_markup(self) -> None:
        """No module makes markup of data, or runs texts, or writes style into attributes."""
        forbidden = re.compile(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b"
            r"|new Function|javascript:|setAttribute\(\"(?:style|on)|localStorage|sessionStorage"
            r"|document\.cookie"
        )
        for name in OURS:
            self.assertIsNone(forbidden.search(content(name)), name)

    def test_nothing_inline(self) -> None:
        """The page itself has neither script nor style in it, which the policy would forbid."""
        page = content(PAGE)
        self.assertEqual(re.findall(r"<script[^>]*>(?!</script>)", page), [])
        self.assertIsNone(re.search(r"<style|\sstyle=|\son\w+=", page))

    def test_nothing_from_outside(self) -> None:
        """No file of ours names an address to load from."""
        for name in OURS:
            for found in re.findall(r"https?://[^\s\"')]+", content(name)):
                sources = ("http://www.w3.org/2000/svg", "https://html.spec.whatwg.org/")
                self.assertTrue(found.startswith(sources), f"{name}: {found}")

    def test_licence(self) -> None:
        """The plotting library comes with its licence."""
        self.assertIn("The MIT License", content("uplot/LICENSE"))
        self.assertIn("uPlot", content("uplot/uPlot.iife.min.js")[:100])

    def test_imports(self) -> None:
        """Modules import only files that are there."""
        for name in OURS:
            for module in re.findall(r'from "\./([^"]+)"', content(name)):
                self.assertIn(module, FILES, name)

    def test_size(self) -> None:
        """Modules and style sheets stay small enough to read."""
        for name in OURS:
            self.assertLess(content(name).count("\n"), MODULE_LINES, name)


class LanguageTests(SynchronousTestCase):
    """English and Chinese."""

    def test_complete(self) -> None:
        """Each text is there in both languages, with the same values to put in."""
        lines = [line for line in content("texts.js").splitlines() if line.startswith("  ")]
        self.assertEqual(len(texts()), len(lines))
        for key, pair in texts().items():
            english, chinese = (sorted(re.findall(r"\{\w+\}", text)) for text in pair)
            self.assertEqual(english, chinese, key)
            self.assertTrue(all(pair), key)

    def test_sentences(self) -> None:
        """Each sentence of the gateway's is there in Chinese, with the same values to put in."""
        lines = [line for line in content("sayings_zh.js").splitlines() if line.startswith("  ")]
        chinese = dict(SENTENCE.findall(content("sayings_zh.js")))
        self.assertEqual(len(chinese), len(lines))
        self.assertEqual(set(chinese), set(SENTENCES))
        for name, text in chinese.items():
            ours, english = (sorted(re.findall(r"\{\w+\}", t)) for t in (text, SENTENCES[name]))
            self.assertEqual(ours, english, name)
            self.assertTrue(re.search("[\u3000-\u9fff\uff00-\uffef]", text) or text == "tts start")

    def test_causes(self) -> None:
        """Each cause of a diagnosis has a title, and none is left over."""
        titles = {key.removeprefix("cause_") for key in texts() if key.startswith("cause_")}
        self.assertEqual(titles, set(Cause))

    def test_used(self) -> None:
        """Each text that a module asks for exists."""
        known, keys = set(texts()), list(texts())
        for name in OURS:
            for key in cast(list[str], USED.findall(content(name))):
                prefix = f"{key}_"
                found = key in known or any(each.startswith(prefix) for each in keys)
                self.assertTrue(found, f"{name}: {key}")

    def test_needed(self) -> None:
        """Each text is mentioned by some module, itself or by the beginning of its name."""
        code = "\n".join(content(name) for name in OURS if name != "texts.js")
        for key in texts():
            prefix = key.partition("_")[0]
            named = re.search(rf'"{key}"|word\("{prefix}"|t\(`{prefix}_', code)
            self.assertIsNotNone(named, key)
