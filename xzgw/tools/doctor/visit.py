"""The doctor plays a device, step by step, and says where it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from xzgw.tools.device_voice import parse_hello_reply
from xzgw.tools.doctor import advice, network
from xzgw.tools.doctor.patient import Patient
from xzgw.tools.doctor.report import Report, Step, Trouble
from xzgw.tools.doctor.talk import Talk, Where
from xzgw.tools.mqtt_link import Refused
from xzgw.tools.narration import Say
from xzgw.tools.steps import StepError, TooLate
from xzgw.wire import messages
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect

NAME = Step(1, "name", 11)
TCP = Step(2, "TCP", 12)
TLS = Step(3, "TLS", 13)
CONNECT = Step(4, "CONNECT", 14)
MCP = Step(5, "MCP", 15)
HELLO = Step(6, "hello", 16)
REPLY = Step(7, "hello reply", 17)
GOODBYE = Step(11, "goodbye", 21)

MCP_SECONDS = 2.0  # a gateway that asks for tools does so at once


@dataclass(frozen=True, slots=True)
class Plan:
    """What to examine.

    Attributes:
        credentials: CONNECT as it will be sent.
        by_key: whether the doctor signed them with a signature key.
        tls: whether to speak TLS, trusting `authorities` (PEM), or this system's if None.
        timeout: s, the longest that anything is waited for.
        packets: Opus, 60 ms each, to be spoken.
    """

    host: str
    port: int
    credentials: Connect
    by_key: bool
    timeout: float
    packets: Sequence[bytes]
    tls: bool = False
    authorities: bytes | None = None


class Visit:
    """One examination."""

    def __init__(self, reactor: Any, plan: Plan, report: Report) -> None:
        self._reactor = reactor
        self._plan = plan
        self._report = report
        self._patient = Patient(reactor)
        self._address = ""  # where TCP came through

    async def run(self) -> None:
        """All steps, as far as they go; what fails is in the report."""
        plan = self._plan
        try:
            await self._connect()
            await self._ask_tools()
            where = await self._open()
            seconds = self._reactor.seconds
            talk = Talk(self._patient, self._report, seconds, plan.timeout, where)
            await talk.run(plan.packets)
            await self._goodbye()
        except Trouble as trouble:
            self._report.failed(trouble)
        except (StepError, TimeoutError) as e:
            self._report.failed(Trouble(str(e), advice.LOST))
        finally:
            await self._patient.leave()

    async def _connect(self) -> None:
        plan, report = self._plan, self._report
        report.begin(NAME)
        addresses = await self._resolve(plan.host, advice.NAME)
        report.ok(" ".join(addresses))
        report.begin(TCP)
        await self._tcp(addresses)
        report.ok(f"{self._address} port {plan.port}")
        tls = None
        if plan.tls:
            report.begin(TLS)
            tls = await self._tls()
        else:
            report.skipped(TLS, "not used")
        report.begin(CONNECT)
        await self._log_in(tls)
        report.ok("accepted, and PINGREQ answered")

    async def _resolve(self, host: str, remedy: str) -> list[str]:
        call = partial(network.resolve, host, self._plan.port)
        try:
            return await network.in_thread(self._reactor, call, self._plan.timeout)
        except (OSError, UnicodeError) as e:
            raise Trouble(f"{host}: {network.words(e)}", remedy) from None

    async def _tcp(self, addresses: Sequence[str]) -> None:
        plan = self._plan
        share = plan.timeout / len(addresses)
        call = partial(network.connect, addresses, plan.port, share)
        # The thread ends by itself; should it be late, its answer still counts.
        found, failures = await network.in_thread(self._reactor, call, 2 * plan.timeout)
        if found is None:
            address, error = next(iter(failures.items()))
            what = f"{address} port {plan.port}: {network.words(error)}"
            raise Trouble(what, advice.tcp(error, plan.port))
        for address, error in failures.items():
            self._report.warn(
                f"{plan.host} is also {address}, which does not answer ({network.words(error)}):"
                " a device may choose that one"
            )
        self._address = found

    async def _tls(self) -> IOpenSSLClientConnectionCreator:
        plan = self._plan
        call = partial(
            network.handshake,
            *(self._address, plan.port, plan.host, plan.authorities, plan.timeout),
        )
        try:
            version = await network.in_thread(self._reactor, call, 2 * plan.timeout)
        except (OSError, ValueError) as e:
            raise Trouble(network.words(e), advice.tls(e)) from None
        self._report.ok(f"{version}, the certificate is valid for {plan.host}")
        return network.client_tls(plan.host, plan.authorities)

    async def _log_in(self, tls: IOpenSSLClientConnectionCreator | None) -> None:
        plan, patient = self._plan, self._patient
        connected = patient.connect(self._address, plan.port, plan.credentials, tls)
        try:
            await self._in_time(connected, "no CONNACK")
        except Refused as e:
            raise Trouble(f"refused, code {e.code}", advice.refused(e.code, plan.by_key)) from None
        except (TimeoutError, TooLate) as e:
            raise Trouble(str(e), advice.SAYS_NOTHING) from None
        except StepError as e:
            cause = advice.NOT_MQTT if "broke MQTT" in str(e) else advice.CLOSED_EARLY
            raise Trouble(str(e), cause) from None
        try:
            # A gateway may say yes before it has looked at the credentials.
            await self._in_time(patient.ping(), "no PINGRESP")
        except (TimeoutError, TooLate) as e:
            raise Trouble(str(e), advice.NO_PINGRESP) from None
        except StepError as e:
            if patient.asked:  # so it was not the credentials
                raise Trouble(str(e), advice.MCP_LOST, MCP) from None
            raise Trouble("accepted, then closed", advice.CLOSED_LATE) from None

    async def _in_time(self, step: Any, what: str) -> None:
        seconds = self._plan.timeout

        def too_late(_value: object, _seconds: float) -> None:
            raise TimeoutError(f"{what} in {seconds:g} s")

        waiting = step if isinstance(step, Deferred) else Deferred.fromCoroutine(step)
        await waiting.addTimeout(seconds, self._reactor, onTimeoutCancel=too_late)

    async def _ask_tools(self) -> None:
        """Gateways that never ask are fine; those that ask get what firmware would answer."""
        report, patient = self._report, self._patient
        report.begin(MCP)
        wait = min(MCP_SECONDS, self._plan.timeout)
        try:
            await patient.until("MCP", lambda: "tools/list" in patient.asked or None, wait)
            await self._in_time(patient.ping(), "nothing after the list of tools")
        except TimeoutError as e:
            raise Trouble(str(e), advice.MCP_LOST) from None
        except TooLate:
            pass
        except StepError as e:
            raise Trouble(str(e), advice.MCP_LOST) from None
        if patient.unanswerable:
            report.warn("the gateway asks with ids that are no numbers: firmware does not answer")
        asked = ", ".join(dict.fromkeys(patient.asked))
        report.ok(f"answered: {asked}" if asked else "the gateway did not ask, which is no mistake")

    async def _open(self) -> Where:
        report = self._report
        report.begin(HELLO)
        reply = await self._hello()
        report.ok("answered")
        report.begin(REPLY)
        try:
            session = parse_hello_reply(reply)
        except StepError as e:
            raise Trouble(str(e).removeprefix("hello: "), advice.REPLY) from None
        address = await self._udp_address_of(session.server)
        note = advice.address_note(address, self._address)
        report.ok(f"session {session.session_id[:40]}, audio at {session.server}:{session.port}")
        for odd in [*advice.odd(reply, session), *([note] if note else [])]:
            report.warn(odd)
        # Where MQTT came through, the address is not to blame if audio does not.
        return Where(session, address, note if note and address != self._address else "")

    async def _hello(self) -> Json:
        seconds = min(advice.HELLO_PATIENCE, self._plan.timeout)
        try:
            reply = await self._patient.hello(seconds)
        except TooLate:
            raise Trouble(f"no reply in {seconds:g} s", advice.HELLO_SILENT) from None
        except StepError as e:
            raise Trouble(str(e).removeprefix("hello: "), advice.HELLO_ERROR) from None
        if reply["type"] == "error":
            said = str(messages.text_member(reply, "message"))[:200]
            raise Trouble(f"the gateway says: {said}", advice.HELLO_ERROR)
        if reply["type"] == "goodbye":
            raise Trouble("the gateway says goodbye instead", advice.HELLO_GOODBYE)
        return reply

    async def _udp_address_of(self, server: str) -> str:
        try:
            return str(ip_address(server))
        except ValueError:
            return (await self._resolve(server, advice.REPLY_NAME))[0]

    async def _goodbye(self) -> None:
        self._report.begin(GOODBYE)
        self._patient.hush()
        self._patient.say("goodbye")
        try:
            await self._in_time(self._patient.ping(), "no PINGRESP")
        except (StepError, TimeoutError) as e:
            raise Trouble(str(e), advice.GOODBYE) from None
        self._report.ok("the connection stays open for the next conversation")


async def visit(reactor: Any, plan: Plan, say: Say) -> int:
    """Examine a gateway; returns the exit status."""
    report = Report(reactor.seconds, say)
    await Visit(reactor, plan, report).run()
    return report.conclude()
