"""A real Chromium without a window, as somebody who looks at the dashboard. All of it blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
WAIT = 15.0  # s that the page may take for anything
LOOK_EVERY = 0.05  # s
DESKTOP = (1280, 900)
PHONE = (360, 740)

T = TypeVar("T")


class Browser:
    """One window, with an empty profile."""

    def __init__(self, profile: Path) -> None:
        self.downloads = profile.resolve() / "saved"
        assert DRIVER is not None, "chromedriver is not installed"
        options = ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={profile.resolve()}", "about:blank"):
            options.add_argument(flag)
        saving = {"download.default_directory": str(self.downloads)}
        options.add_experimental_option("prefs", saving)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(DRIVER))
        self.urls: list[str] = []  # of all requests so far
        self._base = ""
        self.resize(DESKTOP)

    def close(self) -> None:
        self.driver.quit()

    def open(self, port: int) -> None:
        """The page of a gateway whose API is at a port."""
        self._base = f"http://127.0.0.1:{port}/"
        self.driver.get(self._base)
        self.find("#token")

    def log_in(self, token: str) -> None:
        """Hand in a token, whatever comes of it."""
        self.type("#token", token)
        self.click("#login button")

    def enter(self, port: int, token: str) -> None:
        """Open the page and log in with a good token; the devices are known then."""
        self.open(port)
        self.log_in(token)
        self.until("live events", lambda: self.text("#feed") in ("live", "实时"))

    def go(self, page: str) -> None:
        """To `devices`, `events` or, for an empty text, the overview."""
        self.run("location.hash = arguments[0]", f"#/{page}")

    def show(self, client_id: str) -> None:
        """To a device's page."""
        self.go(f"devices/{quote(client_id, safe='')}")
        self.until("the device", lambda: self.text("#device-state") != "")

    def find(self, selector: str) -> WebElement:
        """The first element that is visible."""

        def look() -> WebElement | None:
            shown = (each for each in self.all(selector) if each.is_displayed())
            return next(shown, None)

        return self.until(selector, look)

    def all(self, selector: str) -> list[WebElement]:
        """All elements there are now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What is written in the first such element; empty without one."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.run(script, selector))

    def texts(self, selector: str) -> list[str]:
        """What is written in all such elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return [str(text) for text in self.run(script, selector)]

    def number(self, selector: str) -> float:
        """The number that an element begins with; -1 if it has none."""
        words = self.text(selector).replace(",", "").split()
        return float(words[0]) if words and words[0][0].isdigit() else -1.0

    def click(self, selector: str) -> None:
        """Click it, once that is possible."""
        self.find(selector).click()

    def type(self, selector: str, text: str) -> None:
        """Put text in place of what a field has."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def choose(self, selector: str, text: str) -> None:
        """Choose what a list shows like this."""
        options = self.find(selector).find_elements(By.TAG_NAME, "option")
        next(option for option in options if option.text == text).click()

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: object) -> Any:
        """What a script hands to the function that is its last argument."""
        return self.driver.execute_async_script(script, *arguments)

    def until(self, what: str, look: Callable[[], T | None], seconds: float = WAIT) -> T:
        """The first true thing that a look finds; a failure says what was missing."""
        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, seconds, LOOK_EVERY, ignored)
        return wait.until(lambda _: look(), f"no {what}")  # type: ignore[return-value]

    def resize(self, size: tuple[int, int]) -> None:
        """Another window, in px; what is inside of it has this size."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """`dark` or `light`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def speak(self, language: str) -> None:
        """The language that pages opened from now on are told of."""
        agent = self.run("return navigator.userAgent")
        wanted = {"userAgent": agent, "acceptLanguage": language}
        self.driver.execute_cdp_cmd("Network.setUserAgentOverride", wanted)

    def photograph(self, path: Path) -> None:
        """A picture of the window, PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.driver.get_screenshot_as_png())

    def complaints(self, expected: Collection[str] = ()) -> list[str]:
        """What the console has to say, but for what has one of these texts in it."""
        log: Any = self.driver.get_log("browser")
        said = [str(entry["message"]) for entry in log]
        return [text for text in said if not any(each in text for each in expected)]

    def strangers(self) -> list[str]:
        """Requests that went elsewhere than to the gateway."""
        log: Any = self.driver.get_log("performance")
        for entry in log:
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.urls.append(message["params"]["request"]["url"])
        ours = urlsplit(self._base).netloc
        own = ("data", "blob", "chrome", "about")  # nothing that goes over a network
        return [
            url
            for url in self.urls
            if urlsplit(url).scheme not in own and urlsplit(url).netloc not in (ours, "")
        ]
