"""The files of deploy/ for Prometheus, checked with its own tool. The tests in Rust look up the names in them."""

import subprocess
import unittest

import harness

FOLDER = harness.ROOT / "deploy" / "prometheus"


class Prometheus(unittest.TestCase):
    def promtool(self, *arguments):
        command = ["promtool", *arguments]
        ended = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ended.returncode, 0, f"{command}:\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def test_the_rules_are_valid(self):
        self.assertRegex(self.promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"), r"[1-9]\d* rules found")

    def test_each_alert_is_raised_when_it_should_be_and_not_before(self):
        self.assertIn("SUCCESS", self.promtool("test", "rules", "alerts.test.yaml"))

    def test_the_settings_of_prometheus_are_valid(self):
        # Only their syntax: the file with the token is that of the container.
        self.promtool("check", "config", "--syntax-only", "prometheus.yaml")
