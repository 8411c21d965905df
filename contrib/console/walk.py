"""Walk through the web console as a person would: a real browser, a real server, every page, with pictures.

Run it by contrib/console/run.sh. A step fails when something is not shown, or when the browser's console has an error.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs/evidence/console"
PAGE = ROOT / "docs/evidence/console.md"
ACCESS, SECRET = "STRWALK", "a-secret-for-this-walk-only"
WAIT_S = 15
STEPS = []


def step(title, picture=""):
    """Register a step, in the order of the file."""

    def add(function):
        STEPS.append((title, picture, function))
        return function

    return add


class Walk:
    """A browser on the console of a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STRATUM_", "AWS_"))},
            "PYTHONPATH": str(ROOT),
            "STRATUM_STORE_DATA": str(folder / "data"),
            "STRATUM_S3_ADDRESS": "127.0.0.1:0",
            "STRATUM_CONSOLE_ADDRESS": "127.0.0.1:0",
            "STRATUM_ROOT_ACCESS_KEY": ACCESS,
            "STRATUM_ROOT_SECRET_KEY": SECRET,
        }
        self.server = subprocess.Popen(
            [ROOT / ".venv/bin/stratum", "serve"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=(folder / "server.log").open("w"),
            text=True,
        )
        for line in self.server.stdout:
            if line.startswith("ready"):
                break
        status = json.loads(self.command("status", "--json"))
        self.url, self.s3_url = status["console"], status["s3"]
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1120,820"):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))

    def close(self) -> None:
        self.browser.quit()
        self.server.terminate()
        self.server.wait(30)

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [ROOT / ".venv/bin/stratum", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    # --- what a person does -----------------------------------------------------------------------------------------

    def wait(self) -> WebDriverWait:
        """Pages are drawn anew while one looks at them."""
        return WebDriverWait(self.browser, WAIT_S, ignored_exceptions=[StaleElementReferenceException])

    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "body").text

    def see(self, *words: str) -> None:
        """Wait until all of the words are shown."""
        for word in words:
            self.wait().until(lambda _, word=word: word in self.text(), f"not shown: {word}")

    def gone(self, word: str) -> None:
        self.wait().until(lambda _: word not in self.text(), f"still shown: {word}")

    def go(self, page: str) -> None:
        self.browser.get(f"{self.url}/#/{page}")
        self.browser.refresh()

    def _one(self, path: str):
        wait = self.wait()
        return wait.until(
            lambda driver: [found for found in driver.find_elements(By.XPATH, path) if found.is_displayed()]
        )[-1]

    def press(self, text: str, beside: str = "") -> None:
        """Press the button (or link) of that text; `beside`: in the row of a table that shows this."""
        row = f"//tr[contains(., '{beside}')]" if beside else ""
        self._one(f"{row}//*[self::button or self::a][normalize-space()='{text}']").click()

    def fill(self, name: str, value: str) -> None:
        found = self._one(f"//*[@name='{name}' or @aria-label='{name}']")
        found.clear()
        found.send_keys(value)

    def troubles(self) -> list[str]:
        """Errors that the browser itself noted: exceptions, refused scripts, missing files."""
        entries = self.browser.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE" and " 40" not in entry["message"]]


@step("a wrong secret key is refused", "login")
def wrong_secret(walk):
    walk.browser.get(walk.url)
    walk.fill("access_key", ACCESS)
    walk.fill("secret_key", "guess")
    walk.press("Log in")
    walk.see("the access key or the secret key is wrong")


@step("the right one logs in, and the overview shows the state of the store", "overview")
def log_in(walk):
    walk.fill("access_key", ACCESS)
    walk.fill("secret_key", SECRET)
    walk.press("Log in")
    walk.see("Overview", "healthy", "6 of 6", walk.s3_url)


@step("a link of `stratum console` logs in by itself")
def ticket(walk):
    walk.press("Log out")
    walk.see("Secret key")
    walk.browser.get(walk.command("console"))
    walk.see("Overview", "healthy")


@step("a bucket is made")
def make_bucket(walk):
    walk.go("buckets")
    walk.fill("name", "holiday")
    walk.press("Create")
    walk.see("holiday was made", "holiday")
    assert [row["Name"] for row in walk.s3.list_buckets()["Buckets"]] == ["holiday"]


@step("a file is uploaded from the browser, and S3 has its bytes")
def upload(walk):
    body = os.urandom(3_000_000)
    (walk.folder / "beach photo.jpg").write_bytes(body)
    walk.press("holiday")
    walk._one("//input[@type='file']").send_keys(str(walk.folder / "beach photo.jpg"))
    walk.see("beach photo.jpg", "2.9 MiB")
    assert walk.s3.get_object(Bucket="holiday", Key="beach photo.jpg")["Body"].read() == body


@step("folders, names that look like markup and pages of many keys are shown as they are", "objects")
def names(walk):
    for number in range(201):
        walk.s3.put_object(Bucket="holiday", Key=f"many/{number:03}", Body=b"x")
    walk.s3.put_object(Bucket="holiday", Key="<img src=x onerror=alert(1)>.txt", Body=b"x")
    walk.s3.put_object(Bucket="holiday", Key="a//b/ä?&#%.txt", Body=b"x")
    walk.go("bucket/holiday")
    walk.see("<img src=x onerror=alert(1)>.txt", "many/", "a/")
    walk.press("many/")
    walk.see("199")
    walk.press("Next page")
    walk.see("200")
    walk.gone("199")
    walk.go("bucket/holiday")
    walk.press("a/")
    walk.press("/")
    walk.press("b/")
    walk.see("ä?&#%.txt")
    walk.go("bucket/holiday")
    walk.see("beach photo.jpg")


@step("an object is downloaded whole")
def download(walk):
    walk.press("Download", beside="beach photo.jpg")
    target = walk.folder / "downloads/beach photo.jpg"
    walk.wait().until(lambda _: target.exists())
    assert target.read_bytes() == (walk.folder / "beach photo.jpg").read_bytes()


@step("an object's headers are shown; a link that is handed out works without credentials", "object")
def details(walk):
    walk.press("beach photo.jpg")
    walk.see("etag", "image/jpeg")
    walk.press("Link for an hour")
    walk.see("X-Amz-Signature=")
    url = re.search(r"https?://\S+X-Amz-Signature=\w+", walk.text())[0]
    import urllib.request

    with urllib.request.urlopen(url, timeout=30) as found:
        assert found.read() == (walk.folder / "beach photo.jpg").read_bytes()


@step("versioning is turned on; a deleted object is found and brought back among all versions", "versions")
def versions(walk):
    walk.go("bucket/holiday/configuration/versioning")
    walk.see("There is none")
    walk.press("Save")
    walk.see("Versioning saved")
    assert walk.s3.get_bucket_versioning(Bucket="holiday")["Status"] == "Enabled"
    walk.s3.put_object(Bucket="holiday", Key="diary.txt", Body=b"one")
    walk.s3.put_object(Bucket="holiday", Key="diary.txt", Body=b"two, longer")
    walk.go("bucket/holiday")
    walk.press("Delete", beside="diary.txt")
    walk.press("Yes, do it")
    walk.see("diary.txt was deleted")
    walk.go("bucket/holiday/versions")
    walk.see("delete marker", "diary.txt")
    walk.press("Delete", beside="delete marker")
    walk.press("Yes, do it")
    walk.gone("delete marker")
    assert walk.s3.get_object(Bucket="holiday", Key="diary.txt")["Body"].read() == b"two, longer"


@step("a bucket policy is written, refused when it is wrong, and removed", "policy")
def policy(walk):
    walk.go("bucket/holiday/configuration/policy")
    walk.see("There is none")
    walk.fill("Policy", '{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}')
    walk.press("Save")
    walk.see("olicy")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::holiday/*"}
    walk.fill("Policy", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    walk.press("Save")
    walk.see("Policy saved")
    assert "s3:GetObject" in walk.s3.get_bucket_policy(Bucket="holiday")["Policy"]
    walk.press("Remove")
    walk.press("Yes, do it")
    walk.see("There is none")


@step("every other configuration of a bucket can be looked at")
def configurations(walk):
    walk.go("bucket/holiday/configuration/lifecycle")
    walk.press("Save")
    walk.see("Lifecycle saved")
    titles = [found.text for found in walk.browser.find_elements(By.XPATH, "//nav[@aria-label='Configurations']/a")]
    assert len(titles) >= 14, titles
    for title in titles:
        walk.press(title)
        walk._one(f"//textarea[@aria-label='{title}']")


@step("a quota is set, shown, and held to by S3", "quota")
def quota(walk):
    walk.go("bucket/holiday/quota")
    walk.see("no limit")
    walk.fill("bytes_max", "5 MB")
    walk.press("Set")
    walk.see("The quota was set", "of at most 4.8 MiB")
    try:
        walk.s3.put_object(Bucket="holiday", Key="too-much", Body=bytes(4_000_000))
    except walk.s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "QuotaExceeded", error
    else:
        raise AssertionError("the quota was not held to")
    walk.press("No limits")
    walk.see("no limit")
    walk.s3.put_object(Bucket="holiday", Key="too-much", Body=bytes(4_000_000))


@step("what a bucket says about tiers is set")
def bucket_tiering(walk):
    walk.go("bucket/holiday/tiering")
    walk._one("//select[@name='no_cold']/option[@value='yes']").click()
    walk.press("Save")
    walk.see("was saved")
    walk.press("Say nothing")


@step("a user is added, gets a key and a policy, and sees only what is theirs", "user")
def users(walk):
    walk.go("users")
    walk.fill("name", "maria")
    walk.press("Add")
    walk.see("maria was added")
    walk.press("maria")
    walk.see("Access keys")
    walk.fill("purpose", "her laptop")
    walk.press("Make a key")
    walk.see("AWS_SECRET_ACCESS_KEY=")
    access = re.search(r"AWS_ACCESS_KEY_ID=(\S+)", walk.text())[1]
    secret = re.search(r"AWS_SECRET_ACCESS_KEY=(\S+)", walk.text())[1]
    walk.press("Close")
    walk.press("Add a policy")
    walk.fill("Name of the policy", "reader")
    statement = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::holiday*"]}
    walk.fill("Policy", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    walk.press("Save")
    walk.see("reader", "her laptop")
    walk.press("Log out")
    walk.fill("access_key", access)
    walk.fill("secret_key", secret)
    walk.press("Log in")
    walk.see("Buckets", "maria")
    assert "Users" not in walk.text() and "Settings" not in walk.text()
    walk.go("bucket/holiday")
    walk.see("beach photo.jpg")
    walk.press("Delete", beside="beach photo.jpg")
    walk.press("Yes, do it")
    walk.see("Access Denied")
    walk.press("Log out")
    walk.see("Secret key")
    walk.fill("access_key", ACCESS)
    walk.fill("secret_key", SECRET)
    walk.press("Log in")
    walk.see("Overview")


@step("a named key is made and rotated")
def named_keys(walk):
    walk.go("keys")
    walk.fill("name", "payroll")
    walk.press("Create")
    walk.see("payroll was made")
    walk.press("Rotate", beside="payroll")
    walk.press("Yes, do it")
    walk.wait().until(
        lambda driver: any(
            row.text.startswith("payroll") and " 2 " in row.text for row in driver.find_elements(By.TAG_NAME, "tr")
        )
    )


@step("a disk is added, emptied and taken away while the store is in use", "disks")
def disks(walk):
    walk.go("disks")
    walk.see("in service", "disks/5")
    seventh = walk.folder / "seventh"
    seventh.mkdir()
    walk.fill("path", str(seventh))
    walk.press("Add")
    walk.see("Disk 6 is in service", "seventh")
    walk.press("Empty", beside="seventh")
    walk.press("Yes, do it")
    walk.see("being emptied")
    for _ in range(60):
        row = next(row for row in json.loads(walk.command("disk", "list", "--json"))["disks"] if row["slot"] == 6)
        if not row["shards"]:
            break
        time.sleep(1)
    walk.press("Remove", beside="seventh")
    walk.press("Yes, do it")
    walk.gone("seventh")


@step("tiers are shown", "tiers")
def tiers(walk):
    walk.go("tiers")
    walk.see("Tiering", "hot", "Moved since the start", "Why is an object where it is?")
    walk.fill("bucket", "holiday")
    walk.fill("key", "beach photo.jpg")
    walk.press("Explain")
    walk.see("hot", '"sentence"')


@step("settings are shown")
def settings(walk):
    walk.go("settings")
    walk.see("console.address", "limits.requests")
    assert SECRET not in walk.text()


@step("a bucket that is not empty is not deleted; an empty one is")
def delete_bucket(walk):
    walk.go("buckets")
    walk.press("Delete", beside="holiday")
    walk.press("Yes, do it")
    walk.see("not empty")
    walk.s3.create_bucket(Bucket="empty-one")
    walk.go("buckets")
    walk.press("Delete", beside="empty-one")
    walk.press("Yes, do it")
    walk.see("empty-one was deleted")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-page", action="store_true")
    asked = parser.parse_args()
    rows, failed = [], 0
    with tempfile.TemporaryDirectory(prefix="stratum-console-") as name:
        walk = Walk(Path(name))
        try:
            for title, picture, function in STEPS:
                begun = time.monotonic()
                try:
                    function(walk)
                    troubles = walk.troubles()
                    assert not troubles, troubles
                    said = "passed"
                except Exception as error:  # every step is told of, and the others go on
                    failed += 1
                    said = f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                    walk.browser.save_screenshot(f"/tmp/stratum-console-failed-{failed}.png")
                print(f"{said[:300]}  {title}  ({time.monotonic() - begun:.1f} s)", flush=True)
                if picture and not asked.no_page:
                    PICTURES.mkdir(parents=True, exist_ok=True)
                    walk.browser.save_screenshot(str(PICTURES / f"{picture}.png"))
                rows.append((title, picture, said))
            browser = walk.browser.capabilities["browserVersion"]
        finally:
            walk.close()
    if not asked.no_page:
        PAGE.write_text(page(rows, browser))
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


def page(rows, browser: str) -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# The web console, walked through by a browser",
        "",
        f"`contrib/console/run.sh`, {now}, commit {commit}, Chromium {browser}, against a server started for it.",
        "",
        "| step | result | picture |",
        "|---|---|---|",
        *(f"| {title} | {said} | {f'![{shot}](console/{shot}.png)' if shot else ''} |" for title, shot, said in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
