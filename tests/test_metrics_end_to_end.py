"""/metrics of a gateway process: what it tells is what devices and callers have done."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from twisted.internet.threads import deferToThread

from tests import exposition
from tests.api_support import HOST, ApiTestCase, Console, Device, request
from tests.exposition import Scrape
from tests.support import PATIENCE, SPEECH
from xzgw.tools.steps import StepError

TURN = SPEECH[:16]
METRICS_TOKEN = "met.rics-5e3a1f"
ANSWERS = 200  # scrapes in which what was sent over UDP must have arrived
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"


class MetricsTestCase(ApiTestCase):
    """Scraping as Prometheus does it."""

    async def scrape(self, **headers: str) -> Scrape:
        answer = await deferToThread(request, self.port, "GET", "/metrics", None, headers)
        self.assertEqual(answer.status, 200, answer.body)
        return exposition.read(answer.body.decode())

    async def scrape_until(self, holds: Callable[[Scrape], bool]) -> Scrape:
        """Scrape until this holds."""
        for _ in range(ANSWERS):
            scrape = await self.scrape()
            if holds(scrape):
                return scrape
        raise AssertionError(sorted(scrape.samples.items(), key=str))


class TalkTests(MetricsTestCase):
    """A device talks to the echo server."""

    async def test_audio(self) -> None:
        """Counters are what the device has sent and heard, and stay so when its session is over."""
        self.start()
        device = await self.device(1)
        before = await self.scrape()
        self.assertEqual(before.value("xzgw_connections", kind="device"), 1)
        self.assertEqual(before.value("xzgw_sessions"), 0)
        self.assertEqual(before.value("xzgw_audio_packets_total", direction="up"), 0)
        await self.talk(device)
        assert device.voice is not None
        heard = [each.opus for each in device.voice.heard]
        during = await self.scrape_until(
            lambda scrape: scrape.value("xzgw_audio_late_packets_total") == 1
        )
        ups, downs = [*TURN, *SPEECH[:2]], heard
        for direction, packets in (("up", ups), ("down", downs)):
            count = during.value("xzgw_audio_packets_total", direction=direction)
            size = during.value("xzgw_audio_bytes_total", direction=direction)
            whole = len(packets), sum(16 + len(each) for each in packets)
            self.assertEqual((count, size), whole, direction)
        self.assertEqual(during.value("xzgw_audio_missing_packets_total"), 3)
        self.assertEqual(during.value("xzgw_audio_duplicate_packets_total"), 1)
        refused = during.by("reason", "xzgw_audio_refused_packets_total")
        self.assertEqual(
            {reason: count for reason, count in refused.items() if count}, {"old_sequence": 2}
        )
        self.assertEqual(during.by("server", "xzgw_backend_sessions"), {self.chat.url: 1})
        self.assertEqual(during.value("xzgw_sessions"), 1)
        self.assertEqual(during.value("xzgw_session_setup_seconds_count"), 1)
        device.goodbye()
        after = await self.scrape_until(lambda scrape: scrape.value("xzgw_sessions") == 0)
        self.assert_ended(during, after)

    async def talk(self, device: Device) -> None:
        """One turn; then one packet again, one after a gap of three, and one of those, late."""
        await device.hello()
        device.listen("start")
        await device.speak(TURN)
        device.listen("stop")
        await device.hear(len(TURN), PATIENCE)
        await device.expect("tts", state="stop")
        voice, last = device.voice, len(TURN)
        assert voice is not None
        for sequence, opus in ((last, TURN[-1]), (last + 4, SPEECH[0]), (last + 5, SPEECH[1])):
            voice.transport.write(voice.seal(sequence, 0, opus), None)
        voice.transport.write(voice.seal(last + 2, 0, SPEECH[2]), None)

    def assert_ended(self, during: Scrape, after: Scrape) -> None:
        """The session is counted as ended, and its audio just as before."""
        self.assertEqual(after.by("cause", "xzgw_sessions_ended_total")["goodbye"], 1)
        self.assertEqual(after.value("xzgw_session_quality_count"), 1)
        self.assertEqual(after.value("xzgw_session_jitter_seconds_count", direction="up"), 1)
        for (name, labels), value in during.samples.items():
            if name.startswith("xzgw_audio") and name.endswith("_total"):
                self.assertEqual(after.samples[name, labels], value, (name, labels))


class RefusalTests(MetricsTestCase):
    """What is not let in."""

    async def test_counted(self) -> None:
        """Wrong passwords and tokens, datagrams of nobody, and what is over a limit."""
        self.start(XZGW_MAX_CONNECTIONS="1")
        await self.device(1)
        nobody = Device(4)
        nobody.identity = replace(nobody.identity, mac="no:ma:c")
        for device in (Device(2, key="Wrong-Key-0"), Device(3), nobody):
            with self.assertRaises(StepError):
                await device.connect(HOST, self.gateway.mqtt_port)
        await deferToThread(
            request, self.port, "GET", "/v1/status", None, {"Authorization": "Bearer guess"}
        )
        port = int(self.gateway.wait_for(r"audio over UDP at 127\.0\.0\.1:(\d+)")[1])
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            for size in (40, 40, 3):
                stranger.sendto(b"\x01" + bytes(size), (HOST, port))

        def arrived(scrape: Scrape) -> bool:
            refused = scrape.by("reason", "xzgw_audio_refused_packets_total")
            return (refused["no_session"], refused["no_header"]) == (2, 1)

        scrape = await self.scrape_until(arrived)
        refused = scrape.by("reason", "xzgw_refused_total")
        reasons = ("bad_client_id", "max_connections", "wrong_password", "wrong_token")
        counted = {reason: count for reason, count in refused.items() if count}
        self.assertEqual(counted, dict.fromkeys(reasons, 1))
        used = scrape.value("xzgw_limit_used", setting="max_connections")
        self.assertEqual((used, scrape.value("xzgw_limit", setting="max_connections")), (1, 1))

    async def test_paths(self) -> None:
        """However many paths are asked for, there are no more series than before."""
        self.start()
        console = Console(self.port)
        await console.ask("GET", "/v1/devices/nobody")
        await console.ask("GET", "/v1/no/such/path")
        before = await self.scrape()
        for number in range(30):
            await console.ask("GET", f"/v1/devices/nobody-{number}")
            await console.ask("GET", f"/v1/no/such/path{number}")
        after = await self.scrape()
        self.assertEqual(after.samples.keys() - before.samples.keys(), set(of_scrapes(after)))
        labels = {"method": "GET", "route": "/v1/devices/{client_id}", "status": "404"}
        self.assertEqual(after.value("xzgw_api_requests_total", **labels), 31)


def of_scrapes(scrape: Scrape) -> Iterator[Any]:
    """The series of scrapes themselves."""
    return (key for key in scrape.samples if ("route", "/metrics") in key[1])


class TokenTests(MetricsTestCase):
    """METRICS_TOKEN is set."""

    async def test_token(self) -> None:
        """It is needed, and enough, for both formats; it is in no log."""
        self.start(METRICS_TOKEN=METRICS_TOKEN)
        right = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        for headers in ({}, {"Authorization": "Bearer guess"}):
            answer = await deferToThread(request, self.port, "GET", "/metrics", None, headers)
            self.assertEqual(answer.status, 401)
        scrape = await self.scrape(**right)
        self.assertEqual(scrape.value("xzgw_ready"), 1)
        accept = {**right, "Accept": OPENMETRICS}
        answer = await deferToThread(request, self.port, "GET", "/metrics", None, accept)
        strict = exposition.read_openmetrics(answer.body.decode())
        self.assertEqual(strict.value("xzgw_ready"), 1)
        answer = await deferToThread(request, self.port, "HEAD", "/metrics", None, right)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertNotIn(METRICS_TOKEN, self.gateway.log)
