"""The harnesses for a short while, and the cases that they have found."""

from __future__ import annotations

import inspect
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import corpus
from tests.fuzz.harness import Harness, Step, no_failure_logged, pack, steps
from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.run import explore, fuzz, main

EXAMPLES = 150  # of each harness; `make fuzz` is for more


class FuzzTests(SynchronousTestCase):
    """Each harness, with the same inputs every time."""

    def explore(self, *names: str) -> None:
        """A few inputs of each."""
        for name in names:
            explore(HARNESSES[name], EXAMPLES, None, lambda data: None)

    def test_mqtt(self) -> None:
        """No bytes in any pieces disturb the decoder or a connection."""
        self.explore("mqtt_decoder", "mqtt_connection")

    def test_audio(self) -> None:
        """No datagram, binary message or Opus packet is taken for what it is not."""
        self.explore("udp", "server_audio", "opus")

    def test_websocket(self) -> None:
        """The quick path for audio makes no difference."""
        self.explore("websocket")

    def test_session(self) -> None:
        """No message of device or server brings a session into disorder."""
        self.explore("messages", "session", "mcp")

    def test_http(self) -> None:
        """No request is answered with 5xx, and segmentation changes nothing."""
        self.explore("http")

    def test_configuration(self) -> None:
        """Whatever stands in files and environment, mistakes are told in lines without secrets."""
        self.explore("config_file", "environment")

    def test_entry(self) -> None:
        """PROXY headers come in any pieces; nobody gets in without the right password."""
        self.explore("proxy", "credentials")

    def test_all(self) -> None:
        """No harness is left out above."""
        source = inspect.getsource(type(self))
        self.assertEqual([name for name in HARNESSES if f'"{name}"' not in source], [])


class CorpusTests(SynchronousTestCase):
    """What was found once."""

    def test_replay(self) -> None:
        """Every case passes now."""
        for harness, name, data in corpus.read_all():
            try:
                HARNESSES[harness].one(data)
            except Exception as error:
                error.add_note(f"case {harness}/{name}")
                raise

    def test_explained(self) -> None:
        """The README has a line for each case, and no others."""
        text = (corpus.CORPUS / "README.md").read_text("utf-8")
        explained = re.findall(r"^- `([^`]+)`: ", text, re.MULTILINE)
        cases = [f"{harness}/{name}" for harness, name, _ in corpus.read_all()]
        self.assertEqual(sorted(explained), sorted(cases))


class ToolTests(SynchronousTestCase):
    """What the harnesses are made of, and `make fuzz`."""

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300))))
    def test_steps(self, script: list[Step]) -> None:
        """Steps survive being bytes, and any beginning of those is steps, too."""
        data = pack(script)
        self.assertEqual(list(steps(data)), script)
        self.assertLessEqual(len(list(steps(data[:-1]))), len(script))

    def test_logged(self) -> None:
        """A failure that is only logged counts."""
        with self.assertRaisesRegex(AssertionError, "hidden"), no_failure_logged():
            try:
                raise ValueError("fault")
            except ValueError:
                Logger().failure("hidden")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_found(self) -> None:
        """The smallest bytes that fail are reported, and the exit status tells."""
        said: list[str] = []
        status = main(["--seconds", "5"], {"bad": self._bad(), "good": self._good()}, said.append)
        self.assertEqual(status, 1)
        self.assertIn("tests/fuzz/corpus/bad/NAME.hex:\n4141", said[1])
        self.assertIn("good", said[2])
        self.assertIn("nothing found", said[2])

    def test_nothing_found(self) -> None:
        """It ends in time, with status 0."""
        report = fuzz(self._good(), 0.1)
        self.assertIsNone(report.found)
        self.assertGreater(report.examples, 0)
        said: list[str] = []
        self.assertEqual(main(["--seconds", "0.1", "good"], {"good": self._good()}, said.append), 0)
        self.assertEqual(len(said), 1)

    def _bad(self) -> Harness:
        def one(data: bytes) -> None:
            assert data.count(b"A") < 2

        return Harness("bad", one, st.lists(st.sampled_from([b"A", b"B"])).map(b"".join))

    def _good(self) -> Harness:
        return Harness("good", lambda data: None, st.binary(max_size=3))
