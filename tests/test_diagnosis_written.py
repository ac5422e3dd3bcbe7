"""docs/diagnosis.md says what the code does."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support import ROOT
from xzgw.core import reach
from xzgw.core.audio_rules import QUIET_TIME, REACTION_TIME, SPEECH_TIME, UDP_TIME
from xzgw.core.diagnosis import diagnose
from xzgw.core.findings import CHECKS, Cause, Findings, Found, State, Talk
from xzgw.core.hello_rules import PING_TIME
from xzgw.core.lines import MOST_LINES, WINDOW
from xzgw.core.liveness import ANSWER_TIME
from xzgw.core.rounds import LOOK_AFTER

TEXT = (ROOT / "docs/diagnosis.md").read_text("utf-8")
PLAIN = " ".join(TEXT.split())
TIMES = {
    Cause.MQTT_GONE: (PING_TIME, ANSWER_TIME),
    Cause.SERVER_SILENT: (reach.ALL_SERVERS, reach.SERVER_SHARE),
    Cause.NO_UDP: (UDP_TIME,),
    Cause.DEVICE_SILENT: (UDP_TIME,),
    Cause.SERVER_NO_REACTION: (REACTION_TIME, QUIET_TIME),
    Cause.SERVER_NO_AUDIO: (SPEECH_TIME,),
}
NUMBERS = {4: "four", 10: "ten"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


class WrittenTests(SynchronousTestCase):
    """Causes, times and the example."""

    def test_causes(self) -> None:
        """Each cause has its row, in the order of the code, with a remedy."""
        found = rows("Causes")
        self.assertEqual([row[0] for row in found], [f"`{cause}`" for cause in Cause])
        for name, seen, remedy in found:
            self.assertTrue(seen and remedy, name)

    def test_times(self) -> None:
        """The waits are those of the code."""
        seen = {row[0].strip("`"): row[1] for row in rows("Causes")}
        for cause, times in TIMES.items():
            told = [float(number) for number in re.findall(r"([\d.]+) s\b", seen[cause])]
            self.assertEqual(sorted(told), sorted(times), cause)
        others = [cause for cause in Cause if cause not in TIMES]
        self.assertEqual([cause for cause in others if re.search(r"\d s\b", seen[cause])], [])
        self.assertIn(f"{NUMBERS[round(LOOK_AFTER)]} seconds after something happened", PLAIN)
        self.assertEqual(WINDOW, 60.0)
        self.assertIn(f"same cause {NUMBERS[MOST_LINES]} get their line within a minute", PLAIN)

    def test_checklist(self) -> None:
        """Each item and each state."""
        self.assertEqual(
            [row[0] for row in rows("The checklist")], [f"`{name}`" for name in CHECKS]
        )
        for state in State:
            self.assertIn(f"`{state}`", TEXT)

    def test_example(self) -> None:
        """The sentence in the beginning, and what it is made of."""
        talk = Talk(4.0, "ws://a/", ("192.168.0.7", 8884), "192.168.0.7")
        found = diagnose(Findings("192.168.0.20", 30.0, hello=5.0, talk=talk)).found
        assert isinstance(found, Found)
        self.assertIn(found.sentence, PLAIN)
        block = TEXT.split("```json\n")[1].split("```")[0]
        self.assertEqual(json.loads(f"{{{block}}}")["parts"], found.sentence.parts)

    def test_files(self) -> None:
        """The files that it names are there."""
        for path in re.findall(r"\]\(\.\./([\w./]+)\)", TEXT):
            self.assertTrue((ROOT / path).exists(), path)
