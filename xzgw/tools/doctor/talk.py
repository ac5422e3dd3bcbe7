"""The conversation of an examination: what comes back shows whether audio goes both ways.

A server echoes nothing; it answers. So the device speaks a sentence, and if nobody reacts it sends
a text in place of the wake word, which servers answer without having heard anything. Audio that
comes back proves both ways at once, for the gateway learns only from the device's datagrams where
to send it. Without audio, what the server said in text tells which way is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.error import CannotListenError

from xzgw.tools.device_voice import Session, Voice
from xzgw.tools.doctor import advice
from xzgw.tools.doctor.network import words
from xzgw.tools.doctor.patient import Patient
from xzgw.tools.doctor.report import Report, Step, Trouble
from xzgw.tools.steps import StepError, TooLate
from xzgw.wire.opus import packet_duration_us

UDP_OUT = Step(8, "UDP out", 18)
ANSWER = Step(9, "answer", 19)
UDP_BACK = Step(10, "UDP back", 20)

GREETING = "你好"  # what a server takes for a wake word
ENOUGH = 5  # packets that show audio comes back
SETTLE_SECONDS = 1.0  # datagrams may come after a text that was sent after them


@dataclass(frozen=True, slots=True)
class Where:
    """Where audio goes: the session, the server's IP address, what is odd about that or nothing."""

    session: Session
    address: str
    note: str


class Talk:
    """One conversation in an open session. What raises Trouble ends the examination."""

    def __init__(
        self,
        patient: Patient,
        report: Report,
        seconds: Callable[[], float],
        timeout: float,
        where: Where,
    ) -> None:
        """Take a clock, and s that anything may take."""
        self._patient = patient
        self._report = report
        self._seconds = seconds
        self._timeout = timeout
        self._where = where
        self._said: list[str] = []  # types of the messages that the server reacted with
        self._ended = False  # a goodbye came

    async def run(self, packets: Sequence[bytes]) -> None:
        """Speak and judge. Raises Trouble, and StepError when the connection ends."""
        self._report.begin(UDP_OUT)
        start = self._seconds()
        voice = await self._speak(packets)
        spoken = self._seconds()
        understood = await self._reaction(voice)
        if not understood and voice.is_open and not self._ended:
            self._patient.say("listen", state="detect", text=GREETING)
            await self._reaction(voice)
        reacted = self._seconds()
        if self._said and not voice.heard:
            await self._first_audio(voice)
        self._check_out(voice, understood)
        arrived = ", and they arrived" if voice.heard else ""
        self._report.passed(UDP_OUT, spoken - start, f"{len(packets)} packets sent{arrived}")
        self._check_answer(voice)
        self._report.passed(ANSWER, reacted - spoken, "the chat server reacts")
        await self._judge_audio(voice, spoken)
        if not understood:
            self._report.warn(advice.NO_ASR)

    async def _speak(self, packets: Sequence[bytes]) -> Voice:
        where = self._where
        try:
            voice = self._patient.open_voice(where.session, where.address)
            await self._patient.speak(packets)
        except (OSError, CannotListenError) as e:
            raise Trouble(words(e), self._fill(advice.NO_ROUTE)) from None
        except StepError:
            # Of the voice or of the MQTT connection.
            if self._patient.voice is not None:
                self._check_out(self._patient.voice, True)
            raise
        return voice

    async def _reaction(self, voice: Voice) -> bool:
        """Wait for anything that shows that the server is there; False if nothing comes."""

        def look() -> bool | None:
            self._gather()
            return bool(self._said) or self._over(voice)

        with suppress(TooLate):
            await self._patient.until("answer", look, self._timeout)
        return bool(self._said or voice.heard)

    async def _first_audio(self, voice: Voice) -> None:
        """The server speaks in text: wait for its audio, for as long as it speaks."""

        def look() -> bool | None:
            self._gather()
            return "end of tts" in self._said or self._over(voice)

        with suppress(TooLate):
            await self._patient.until("audio", look, self._timeout)
        await self._settle(voice, 1)

    async def _settle(self, voice: Voice, count: int) -> None:
        """Wait a moment for so many packets."""
        with suppress(TooLate):
            await self._patient.until(
                "audio",
                lambda: len(voice.heard) >= count or not voice.is_open or self._ended or None,
                min(SETTLE_SECONDS, self._timeout),
            )

    def _gather(self) -> None:
        """Note what the server said. A goodbye for another session is none, as in firmware."""
        while text := self._patient.take("stt", "llm", "tts"):
            ended = text["type"] == "tts" and text.get("state") == "stop"
            self._said.append("end of tts" if ended else str(text["type"]))
        while text := self._patient.take("goodbye"):
            if text.get("session_id", self._patient.session_id) == self._patient.session_id:
                self._ended = True

    def _over(self, voice: Voice) -> bool | None:
        """Whether there is nothing more to wait for; None if there is."""
        return bool(voice.heard or not voice.is_open or self._ended) or None

    def _check_out(self, voice: Voice, understood: bool) -> None:
        """Raises Trouble if our datagrams do not get through."""
        if voice.heard:
            return
        if voice.refused or not (voice.is_open or voice.dropped):
            raise Trouble("nobody listens there", self._fill(advice.NOBODY_THERE), UDP_OUT)
        if not understood and "tts" in self._said and not voice.dropped:
            raise Trouble("no packet seems to arrive", self._fill(advice.DEAF), UDP_OUT)

    def _check_answer(self, voice: Voice) -> None:
        """Raises Trouble if the server does not speak."""
        if voice.heard or voice.dropped or "tts" in self._said:
            return
        if self._ended:
            raise Trouble("the session was ended", advice.SESSION_ENDED, ANSWER)
        if self._said:
            said = ", ".join(dict.fromkeys(self._said))
            raise Trouble(f"{said}, but no speech", advice.SPEECHLESS, ANSWER)
        what = f"nothing in {self._timeout:g} s, nor to a text"
        raise Trouble(what, self._fill(advice.SERVER_SILENT), ANSWER)

    async def _judge_audio(self, voice: Voice, spoken: float) -> None:
        """Raises Trouble if no audio came back that a device would play."""
        if voice.heard:
            await self._settle(voice, ENOUGH)
        for why, count in voice.dropped.items():
            self._report.warn(f"{count} datagram(s) came that a device drops for their {why}")
        if any("empty" in why for why in voice.dropped):
            raise Trouble("an empty datagram came", advice.EMPTY_DATAGRAM, UDP_BACK)
        if not voice.heard and voice.dropped:
            raise Trouble("no packet that a device plays", advice.BAD_DATAGRAMS, UDP_BACK)
        if not voice.heard:
            raise Trouble("no audio came", self._fill(advice.NO_DOWNLINK), UDP_BACK)
        lost = f", {voice.lost} lost" if voice.lost else ""
        detail = f"{len(voice.heard)} packets heard so far{lost}"
        self._report.passed(UDP_BACK, voice.heard[0].at - spoken, detail)
        if all(packet_duration_us(heard.opus) is None for heard in voice.heard):
            self._report.warn(advice.NONSENSE)

    def _fill(self, text: str) -> str:
        """Advice for this address, with what is odd about it."""
        session, note = self._where.session, self._where.note
        filled = text.format(server=session.server, port=session.port)
        return f"{filled} And: {note}." if note else filled
