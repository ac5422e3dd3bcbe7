"""What is wrong, said by a whole gateway: each fault is really there, on real sockets."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import (
    faults_of_devices,
    faults_of_servers,
    faults_of_udp,
    test_diagnosis_configured,
)
from tests.api_support import HOST, today, token
from tests.diagnosing import DOORS, Afflicted, DiagnosisTestCase, faults_in
from tests.raw_device import mac_of
from tests.support import PATIENCE, SPEECH, GatewayProcess
from xzgw.core.findings import Cause
from xzgw.wire.audio import server_audio

FAULTS = faults_in(faults_of_devices, faults_of_servers, faults_of_udp)


class FaultTests(DiagnosisTestCase):
    """Devices of a gateway whose settings are well."""

    def setUp(self) -> None:
        super().setUp()
        path = Path(self.mktemp()).resolve()
        path.write_text(json.dumps(self.document()), "utf-8")
        directory = Path(self.mktemp())
        flags = "--config", str(path)
        self.start(GatewayProcess(directory, {"XZGW_MQTT": DOORS}, flags=flags))

    def document(self) -> dict[str, Any]:
        """The JSON file's."""
        macs = [mac_of(faults_of_servers.UNSERVED)]
        dead = faults_of_servers.DEAD
        return {
            "production": {"chat_servers": [self.chat.url]},
            "development": {"chat_servers": dead, "mac_addresss": macs},
            "diagnosis_alert": True,
        }

    def test_faults(self) -> None:
        """Each is told in the API, in the log and on the device; events say the same."""
        self.suffer(FAULTS, alerts=True)
        told = {(each["client_id"], each["sentence"]) for each in self.events()}
        self.assertEqual(len(told), len(FAULTS))
        for client_id, sentence in told:
            self.assertIn(f"{client_id}: {sentence} (", self.gateway.log)

    def events(self) -> list[Any]:
        """All those of diagnoses so far."""
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        connection = HTTPConnection(HOST, port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        headers = {"Authorization": f"Bearer {token(today())}", "Last-Event-ID": "none"}
        connection.request("GET", "/v1/events?kinds=diagnosis", headers=headers)
        lines = iter(connection.getresponse().readline, b"")
        told = (json.loads(line[5:]) for line in lines if b'"kind":"diagnosis"' in line)
        return list(islice(told, len(FAULTS)))

    def test_well(self) -> None:
        """With sound both ways nothing is told, and the checklist is all right."""
        one = Afflicted(self, 1)
        theirs, udp = one.greet()
        voice = one.voice(udp)
        voice.speak(SPEECH[0])
        theirs.send(json.dumps({"type": "tts", "state": "start"}))
        theirs.send(server_audio(0, 60, SPEECH[0]))
        self.assertEqual(voice.hear(), SPEECH[0])
        told = one.diagnosis()
        self.assertEqual((told["cause"], told["sentence"]), (None, "all is well"))
        self.assertEqual({check["state"] for check in told["checks"]}, {"ok"})


class CompleteTests(SynchronousTestCase):
    """The faults themselves."""

    def test_every_cause(self) -> None:
        """No cause is without a fault that is really there, here or because of settings."""
        told = [*(each.told for each in FAULTS), *test_diagnosis_configured.TOLD]
        self.assertEqual({each.cause for each in told}, set(Cause))
