"""Wireshark's tshark reads what a trace is handed out as. It comes with Debian's tshark."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.api_support import HOST, Console
from tests.support import PATIENCE
from tests.trace_support import SPOKEN, TraceTestCase


class TsharkTests(TraceTestCase):
    """Each test has a gateway of its own, which is traced by way of its API."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.start()
        self.console = Console(self.port)
        self.capture = Path(self.mktemp())
        self.device_1 = await self.device(1)

    async def record(self, *, audio: bool) -> list[bytes]:
        """A whole session as a capture file; returns what the device heard."""
        await self.trace(self.device_1, audio=audio)
        heard = await self.talk(self.device_1)
        self.capture.write_bytes(await self.read(self.device_1, "?format=pcap"))
        return heard

    @property
    def udp_port(self) -> str:
        assert self.device_1.voice is not None
        hello = self.device_1.told("hello")[-1]
        return str(hello["udp"]["port"])

    async def shown(self, where: str, *fields: str) -> list[list[str]]:
        """These fields of the packets that a display filter lets through."""
        command = ["tshark", "-r", str(self.capture), "-n", "-Y", where]
        command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
        command += ["-T", "fields", "-E", "separator=|"]
        for field in fields:
            command += ["-e", field]
        return [line.split("|") for line in (await self.run_tshark(command)).splitlines()]

    async def run_tshark(self, command: list[str]) -> str:
        done = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=6 * PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    async def test_rtp(self) -> None:
        """With audio, both directions are RTP streams whose payloads are what was said; nobody has
        to tell it so."""
        heard = await self.record(audio=True)
        fields = ("ip.src", "rtp.seq", "rtp.timestamp", "rtp.marker", "rtp.p_type", "rtp.ssrc")
        source = f"udp.dstport=={self.udp_port}"
        assert self.device_1.voice is not None
        ssrc = self.device_1.told("hello")[-1]["udp"]["nonce"][8:16]
        for where, spoken in ((source, SPOKEN), (f"rtp && !({source})", heard)):
            rows = await self.shown(where, *fields, "rtp.payload")
            payloads = [bytes.fromhex(row[-1].replace(":", "")) for row in rows]
            self.assertEqual(payloads, list(spoken))
            self.assertEqual([row[1] for row in rows], [f"{n + 1}" for n in range(len(spoken))])
            times = [int(row[2]) for row in rows]
            steps = [after - before for before, after in pairwise(times)]
            self.assertEqual((times[0], min(steps)), (0, 2880))  # 60 ms at 48 kHz
            self.assertIn(rows[0][3], ("1", "True"))
            constant = {(row[0], row[4], int(row[5], 16)) for row in rows}
            self.assertEqual(constant, {(HOST, "96", int(ssrc, 16))})

    async def test_streams(self) -> None:
        """Its own analysis finds the two streams, of Opus, and nothing lost in them."""
        await self.record(audio=True)
        options = ["-r", str(self.capture), "-n", "-q", "-z", "rtp,streams"]
        table = await self.run_tshark(["tshark", *options])
        rows = [line for line in table.splitlines() if HOST in line]
        self.assertEqual(len(rows), 2, table)
        for row in rows:
            self.assertIn("0 (0.0%)", row)
            self.assertIn(" opus ", row)

    async def test_without_audio(self) -> None:
        """The headers of both directions, each cut off behind it, told as long as it was."""
        heard = await self.record(audio=False)
        where = f"udp.port=={self.udp_port}"
        rows = await self.shown(where, "frame.cap_len", "frame.len", "udp.length")
        lengths = [16 + len(opus) for opus in (*SPOKEN, *heard)]
        self.assertEqual(sorted(int(row[2]) - 8 for row in rows), sorted(lengths))
        self.assertEqual({row[0] for row in rows}, {str(20 + 8 + 16)})
        for row in rows:
            self.assertEqual(int(row[1]), 20 + int(row[2]))

    async def test_messages(self) -> None:
        """Messages are syslog, readable in the list of packets; no packet is malformed, and all
        checksums are right."""
        await self.record(audio=True)
        messages = [row[0] for row in await self.shown("syslog", "syslog.msg")]
        for text in ('"type":"listen"', '"way":"from_server"', '"kind":"session"'):
            self.assertTrue([message for message in messages if text in message], text)
        wrong = "_ws.malformed || ip.checksum.status==0 || udp.checksum.status==0"
        self.assertEqual(await self.shown(wrong, "frame.number"), [])
        self.assertGreater(len(await self.shown("udp.checksum.status==1", "frame.number")), 20)
