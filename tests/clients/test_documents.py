"""What documents name is there."""

import re
import unittest

from harness import ROOT
from screenshots import MAX_BYTES, PICTURES

NAMED = re.compile(r'"(docs/screenshots/[^"]+)"')


class Pictures(unittest.TestCase):
    def test_the_readme_shows_all_pictures_in_both_themes(self):
        named = NAMED.findall((ROOT / "README.md").read_text())
        there = [str(picture.relative_to(ROOT)) for picture in PICTURES.iterdir()]
        self.assertEqual(sorted(named), sorted(there))
        self.assertTrue(named, "the README shows no picture")
        light = {name.replace("-light.", "-dark.") for name in named if "-light." in name}
        self.assertEqual(light, {name for name in named if "-dark." in name})

    def test_the_pictures_are_small(self):
        size = sum(picture.stat().st_size for picture in PICTURES.iterdir())
        self.assertLess(size, MAX_BYTES)


class Calls(unittest.TestCase):
    def test_the_tables_of_calls_have_every_one_of_the_contract(self):
        tables = (ROOT / "docs" / "API.md").read_text()
        contract = "".join(file.read_text() for file in sorted((ROOT / "proto").glob("**/*.proto")))
        calls = re.findall(r"^  rpc (\w+)\(", contract, re.MULTILINE)
        self.assertGreater(len(calls), 25)
        self.assertEqual([call for call in calls if f"`{call}`" not in tables], [])
