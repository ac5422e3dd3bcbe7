"""A file's folder tells what it may know."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import xzgw

ROOT = Path(xzgw.__file__).parent
PURE = {*sys.stdlib_module_names, "cryptography", "xzgw.__version__"}
TWISTED_CORE = {"twisted.internet.defer", "twisted.internet.interfaces", "twisted.logger"}
# What each layer may import besides itself: exact names or packages. None: any third party.
ALLOWED = {
    "wire": PURE | {"xzgw.wire"},
    "core": PURE
    | {"xzgw.wire", "xzgw.core", *TWISTED_CORE, "twisted.python.failure"}
    | {"xzgw.config.Config"},  # the value only
    # No adapter imports another; the three named last are parts of others.
    "net": {"xzgw.__version__", "xzgw.wire", "xzgw.core", "xzgw.net.tcp"}
    | {"xzgw.net.websocket", "xzgw.net.rationed", "xzgw.net.device"},
    "admin": {"xzgw.__version__", "xzgw.wire", "xzgw.core", "xzgw.admin"}
    | {"xzgw.settings.sections.WebhookConfig"},  # the value only
    "tools": {"xzgw.__version__", "xzgw.wire", "xzgw.core", "xzgw.config", "xzgw.tools"},
}
PURE_LAYERS = ("wire", "core")


def imports(source: str) -> Iterator[str]:
    """The dotted name of everything imported, wherever in the source; `.` for relative ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(path: Path, source: str) -> list[str]:
    """Imports that the module at path (relative to the package) must not have."""
    layer = path.parts[0]
    bad = []
    for name in imports(source):
        ours = name.split(".")[0] == "xzgw"
        allowed = any(f"{name}.".startswith(f"{known}.") for known in ALLOWED.get(layer, ()))
        restricted = layer in ALLOWED and (ours or layer in PURE_LAYERS)
        if (
            name.startswith((".", "xzgw.tap"))
            or (name == "twisted.internet.reactor" and layer not in ("tap.py", "tools"))
            or (restricted and not allowed)
        ):
            bad.append(f"{path}: {name}")
    return bad


class LayerTests(SynchronousTestCase):
    """Who may import whom."""

    def test_package(self) -> None:
        """No module of ours knows more than its layer may."""
        paths = sorted(ROOT.rglob("*.py"))
        self.assertGreater(len(paths), 5)
        bad = [v for p in paths for v in violations(p.relative_to(ROOT), p.read_text("utf-8"))]
        self.assertEqual(bad, [])

    def test_checker(self) -> None:
        """Each kind of violation is found, and what is allowed is not."""
        for path, source in (
            ("wire/a.py", "from twisted.internet import defer"),
            ("wire/a.py", "import xzgw.core.session"),
            ("core/a.py", "from xzgw import config"),
            ("core/a.py", "from twisted.internet.protocol import Protocol"),
            ("net/a.py", "from xzgw.net.voice import Voice"),
            ("net/a.py", "def f():\n    from twisted.internet import reactor"),
            ("tools/a.py", "from xzgw.net import device"),
            ("config.py", "from xzgw import tap"),
            ("config.py", "from . import wire"),
        ):
            self.assertEqual(len(violations(Path(path), source)), 1, source)
        for path, source in (
            ("wire/a.py", "import json\nfrom cryptography.hazmat import primitives"),
            (
                "core/a.py",
                "from twisted.internet.defer import Deferred\nfrom xzgw.wire import mqtt",
            ),
            ("net/a.py", "from twisted.internet import protocol\nfrom xzgw import __version__"),
            ("tools/a.py", "from twisted.internet import reactor"),
            ("tap.py", "from twisted.internet import reactor\nfrom xzgw.net import device"),
        ):
            self.assertEqual(violations(Path(path), source), [], source)
