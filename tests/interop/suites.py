"""Runs the three suites, each against a fresh broker, and adds up their counts: `N passed, N failed, N skipped`."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import broker as brokers

HERE = pathlib.Path(__file__).resolve().parent


def run(words, **env):
    """Shows what a suite prints and returns it with its exit code."""
    process = subprocess.Popen(
        words, cwd=HERE, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return "".join(lines), process.wait()


def number(pattern, text):
    return sum(int(found) for found in re.findall(pattern, text, re.MULTILINE))


def pytest(arguments):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        words = ["-q", "--tb=short", f"--junitxml={report}", *arguments]
        _, code = run([sys.executable, "-m", "pytest", *words])
        if not report.exists():
            return 0, 1, 0
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    tests, failed, errors, skipped = (int(suite.get(n)) for n in ("tests", "failures", "errors", "skipped"))
    failed += errors
    return tests - failed - skipped, failed or int(code != 0), skipped


def with_broker(words, count):
    """Runs a suite of another language against a broker whose addresses it gets in the environment."""
    running = brokers.Broker().start()
    try:
        addresses = {f"INTEROP_{door.upper()}": f"127.0.0.1:{port}" for door, port in running.ports.items()}
        text, code = run(words, **addresses)
        passed, failed, skipped = count(text)
        died = not running.alive()
        if died:
            print(running.printed()[-4000:])
        return passed, failed + int(died) or int(code != 0), skipped
    finally:
        running.stop()


def node():
    files = sorted(str(file) for file in (HERE / "node").glob("*.test.mjs"))
    return with_broker(
        ["node", "--test", "--test-reporter=tap", *files],
        lambda text: tuple(number(rf"^# {word} (\d+)", text) for word in ("pass", "fail", "skipped")),
    )


def rust():
    return with_broker(
        ["cargo", "test", "--quiet", "--manifest-path", "rust/Cargo.toml"],
        lambda text: tuple(number(rf"(\d+) {word};", text) for word in ("passed", "failed", "ignored")),
    )


def main():
    counts = {"python": pytest(sys.argv[1:]), "node": node(), "rust": rust()}
    for name, (passed, failed, skipped) in counts.items():
        print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
    passed, failed, skipped = (sum(column) for column in zip(*counts.values()))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
