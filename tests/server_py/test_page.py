"""The chat page in headless Chromium. Screenshots go to OCTET_SCREENSHOTS, if that is set."""

import json
import os
import pathlib
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from conftest import serving
from scripted_server import ScriptedServer

REASONING = "The user asks for 17 times 24.\n\n17 * 24 = 17 * 20 + 17 * 4 = 340 + 68 = 408."
ANSWER = """**17 · 24 = 408.** Split the second factor and add:

| Part | Product |
|---|---|
| 17 · 20 | 340 |
| 17 · 4 | 68 |

The same as a program:

```python
def product(a: int, b: int) -> int:
    tens, ones = divmod(b, 10)
    return a * tens * 10 + a * ones

print(product(17, 24))  # 408
```

- It works for any `b` of *two* digits
- [More about it](https://example.com/multiplication)
"""
HOSTILE = """<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>
[click](javascript:alert(1)) <b>bold</b>

```html
<script>document.title='taken'</script>
```

# <i>heading</i>
| <u>a</u> | b |
|---|---|
| <iframe src="//evil.example"></iframe> | c |
"""


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--force-prefers-reduced-motion"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@pytest.fixture
def scripted():
    server = ScriptedServer()
    server.reasoning, server.content = REASONING, ANSWER
    yield server
    server.shutdown()


@pytest.fixture
def page(driver, scripted):
    return Page(driver, scripted.url)


class Page:
    def __init__(self, driver, url, width=1100, height=800):
        self.driver = driver
        self.size(width, height)
        driver.get(url)
        driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        driver.get(url)

    def size(self, width, height, dark=False):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = "dark" if dark else "light"
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition, seconds=20):
        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: condition())

    def button(self, name):
        return next(b for b in self.all("button") if b.accessible_name == name and b.is_displayed())

    def focused(self):
        return self.run("return document.activeElement.id")

    def type(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def idle(self):
        return self.find("#stop").get_attribute("hidden") is not None

    def ask(self, text="What is 17 * 24?"):
        self.find("#prompt").send_keys(text, Keys.ENTER)
        self.wait(self.idle)

    def screenshot(self, name):
        if folder := os.environ.get("OCTET_SCREENSHOTS"):
            self.driver.save_screenshot(str(pathlib.Path(folder) / name))


def test_an_answer_arrives_with_its_thoughts_folded(page, scripted):
    assert page.focused() == "prompt"
    assert page.find("#model").text == "r1-distill-qwen-1.5b"
    page.screenshot("welcome.png")
    page.ask()
    assert page.all(".message.user .body")[0].text == "What is 17 * 24?"
    answer = page.find(".answer")
    assert answer.find_element(By.CSS_SELECTOR, "strong").text == "17 · 24 = 408."
    assert [cell.text for cell in page.all("td")] == ["17 · 20", "340", "17 · 4", "68"]
    assert "tens, ones = divmod(b, 10)" in page.find("pre").text
    assert page.find("figcaption").text.startswith("python")
    link = page.find(".text a")
    assert link.get_attribute("rel") == "noopener noreferrer"
    thoughts = page.find(".thinking")
    assert thoughts.get_attribute("open") is None
    assert not thoughts.find_element(By.CSS_SELECTOR, "div").is_displayed()
    assert thoughts.text == "Thought for 1 s"
    assert "tokens/s" in page.find(".speed").text
    assert answer.get_attribute("aria-busy") == "false"
    assert page.find("#status").get_attribute("textContent") == "The answer is complete."
    assert page.focused() == "prompt"
    body, _ = scripted.requests[0]
    assert body["messages"] == [{"role": "user", "content": "What is 17 * 24?"}]
    assert "temperature" not in body
    page.screenshot("desktop.png")


def test_text_appears_while_it_is_made(page, scripted):
    scripted.seconds_per_piece = 0.02
    page.find("#prompt").send_keys("Hi", Keys.ENTER)
    page.wait(lambda: page.find(".thinking").text == "Thinking …")
    page.wait(lambda: "Split" in page.find(".text").text)
    assert not page.idle() and page.find(".answer").get_attribute("aria-busy") == "true"
    assert "print(product" not in page.find(".answer").text
    page.wait(page.idle)
    assert "print(product" in page.find(".answer").text


def test_escape_and_the_button_stop(page, scripted):
    scripted.seconds_per_piece = 0.05
    for stop in (lambda: page.type(Keys.ESCAPE), lambda: page.button("Stop").click()):
        page.find("#prompt").send_keys("Hi", Keys.ENTER)
        page.wait(lambda: page.all(".answer")[-1].text and not page.idle())
        page.wait(lambda: page.all(".speed")[-1].text)
        stop()
        page.wait(page.idle)
        assert "stopped" in page.all(".speed")[-1].text
        assert page.focused() == "prompt"
    page.wait(lambda: scripted.disconnects == 2)
    scripted.seconds_per_piece = 0
    page.ask("Again")
    assert "print(product" in page.all(".answer")[-1].text


def test_the_keyboard_is_enough(page, scripted):
    page.find("#prompt").send_keys("one", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two", Keys.ENTER)
    page.wait(page.idle)
    assert scripted.requests[0][0]["messages"][0]["content"] == "one\ntwo"
    # backwards from the prompt: the answer's buttons, the code, the thoughts
    seen = []
    for _ in range(12):
        page.type(Keys.SHIFT, Keys.TAB, Keys.NULL)
        active = page.driver.switch_to.active_element
        seen.append(active.accessible_name or active.tag_name)
        outline = active.value_of_css_property("outline-style")
        assert outline == "auto" or outline == "solid", seen
        if active.tag_name == "summary":
            break
    assert active.tag_name == "summary", seen
    assert {"Try again", "Copy", "Copy code", "Code"} <= set(seen), seen
    page.type(Keys.ENTER)
    assert page.find(".thinking div").is_displayed()
    assert "340 + 68 = 408" in page.find(".thinking div").text
    page.type(Keys.ENTER)
    assert not page.find(".thinking div").is_displayed()


def test_a_models_text_is_never_html(page, scripted):
    scripted.content = scripted.reasoning = HOSTILE
    page.ask()
    assert page.run("return document.title") != "taken"
    found = page.all(".message img, .message script, .message iframe, .message b, .message i, .message u")
    assert found == []
    assert [a.get_attribute("href") for a in page.all(".message a")] == []
    assert '<img src=x onerror=' in page.find(".text").text
    assert "<iframe" in page.find(".text td").text
    assert "<i>heading</i>" in page.find(".text h2").text


def test_settings_reach_the_server_and_stay(page, scripted):
    page.button("Settings").click()
    assert page.focused() == "system"
    page.type("Be brief.", Keys.TAB, "0.3", Keys.TAB, "99", Keys.TAB, "my-key", Keys.ENTER)
    page.wait(lambda: not page.find("#settings").is_displayed())
    page.ask()
    body, authorization = scripted.requests[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.3 and body["max_completion_tokens"] == 99
    assert authorization == "Bearer my-key"
    assert "my-key" not in page.run("return JSON.stringify(localStorage)")
    page.driver.refresh()
    page.ask("And then?")
    body, authorization = scripted.requests[-1]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][2]["content"] == ANSWER and authorization == "Bearer my-key"
    page.button("Settings").click()
    page.type("x", Keys.ESCAPE)
    assert not page.find("#settings").is_displayed()
    page.button("New chat").click()
    assert page.all(".message") == [] and page.find("#welcome").is_displayed()
    page.driver.refresh()
    assert page.all(".message") == []


def test_trying_again_replaces_the_answer(page, scripted):
    page.ask()
    scripted.reasoning, scripted.content = "", "Another answer."
    page.button("Try again").click()
    page.wait(page.idle)
    page.wait(lambda: [answer.text.splitlines()[0] for answer in page.all(".answer")] == ["Another answer."])
    assert len(scripted.requests[-1][0]["messages"]) == 1


def test_failures_are_told(page, scripted):
    scripted.failure = (429, "the queue is full")
    page.ask()
    assert page.find(".failure").text == "the queue is full"
    scripted.failure = None
    page.button("Try again").click()
    page.wait(lambda: "408" in page.find(".answer").text)
    scripted.failure = (401, "an API key is needed")
    page.ask("More")
    page.wait(lambda: page.focused() == "key")
    page.type(Keys.ESCAPE)
    scripted.shutdown()
    scripted.server_close()
    page.button("Try again").click()
    page.wait(lambda: page.all(".failure")[-1].text == "The server cannot be reached.")


def test_a_phone_and_the_dark(page, scripted):
    for dark in (False, True):
        page.size(360, 740, dark)
        page.ask("Compute this with rather_long_words_" + "x" * 80)
        assert page.run("return document.documentElement.scrollWidth") <= 360
        for button in page.all("button"):
            if button.is_displayed():
                assert button.accessible_name
                assert button.size["height"] >= 24 and button.size["width"] >= 24
        ratios = page.run(CONTRAST)
        assert min(ratios.values()) >= 4.5, ratios
        page.screenshot("phone-dark.png" if dark else "phone.png")
    page.size(1100, 800, dark=True)
    page.screenshot("dark.png")


# WCAG's contrast of each text colour with the grounds it is used on.
CONTRAST = """
const style = getComputedStyle(document.documentElement);
const light = name => {
  const hex = style.getPropertyValue('--' + name).trim();
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const pairs = ['text ground', 'text surface', 'text own', 'text code', 'quiet ground', 'quiet surface',
  'quiet raised', 'accent ground', 'on-accent accent', 'bad bad-ground'];
return Object.fromEntries(pairs.map(pair => {
  const [a, b] = pair.split(' ').map(light);
  return [pair, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
}));
"""


def test_the_real_server_and_its_policy(driver, tiny_model, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("page-key\n")
    with serving(tiny_model, "--api-key-file", keys) as server:
        page = Page(driver, server.url)
        page.wait(lambda: page.focused() == "key")  # it asks for the key by itself
        page.type("page-key", Keys.ENTER)
        page.wait(lambda: page.find("#model").text == "tiny")
        driver.get_log("browser")
        page.button("Settings").click()
        page.find("#max-tokens").send_keys("20", Keys.ENTER)
        page.ask("Hello")
        page.wait(lambda: "tokens/s" in page.find(".speed").text)
        # what slips into the page does not run
        page.run("""const script = document.createElement('script');
            script.textContent = "document.title = 'taken'";
            document.body.append(script);
            const image = new Image();
            image.src = 'http://127.0.0.1:1/x.png';
            document.body.append(image);""")
        time.sleep(0.2)
        assert page.run("return document.title") != "taken"
        refused = [entry["message"] for entry in driver.get_log("browser")]
        assert len([m for m in refused if "Content Security Policy" in m]) == 2, refused
        policy = server.get("/")
        assert "@NONCE@" not in policy
