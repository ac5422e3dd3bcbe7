"""From what was seen of a device to one plain sentence: what is wrong, and what to do about it.

The rules are tried in order, from the connection to the sound; the first that fits is the cause,
for what fails early makes everything after it fail, too. No rule fits a device that is merely
idle, and none fits before whatever it misses has had time to come.
"""

from __future__ import annotations

from dataclasses import replace

from xzgw.core import audio_rules, hello_rules
from xzgw.core.checklist import checklist
from xzgw.core.findings import Diagnosis, Findings, Found
from xzgw.core.sayings import row, say

_RULES = (
    hello_rules.mqtt,
    hello_rules.hello,
    hello_rules.servers,
    audio_rules.uplink,
    audio_rules.no_uplink,
    audio_rules.timed_out,
    audio_rules.silent,
    audio_rules.reaction,
    audio_rules.speech,
    audio_rules.given_up,
    audio_rules.playback,
)


def diagnose(findings: Findings) -> Diagnosis:
    """The first thing that is wrong, and the checklist.

    A device at rest is told what was wrong with its last session.
    """
    found = first(findings)
    if found is None and findings.talk is None and not findings.reaching and findings.last:
        when = say("last_session", seconds=findings.ended)
        before = replace(findings.last, sentence=row(when, findings.last.sentence))
        return Diagnosis(before, checklist(findings, None))
    return Diagnosis(found, checklist(findings, found))


def first(findings: Findings) -> Found | None:
    """The first thing that is wrong now."""
    return next(filter(None, (rule(findings) for rule in _RULES)), None)
