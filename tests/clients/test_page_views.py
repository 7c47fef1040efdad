"""Every view of the page in Chromium: accessible, in both themes, on narrow and wide screens, by keyboard and without
JavaScript; and harmless whatever was sent. With PAGE_SCREENSHOTS, the name of a folder, it gets a picture of each."""

import json
import os
import pathlib

import browser
import everything
import harness
import hostile


def look(test, script, hookbox, **environment):
    """Runs a script that looks at all views."""
    if folder := os.environ.get("PAGE_SCREENSHOTS"):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        environment["PAGE_SCREENSHOTS"] = os.path.abspath(folder)
    browser.in_browser(test, script, hookbox, **environment)


class PageViews(harness.TestCase):
    def test_every_view_is_accessible_in_both_themes_and_fits_narrow_and_wide_screens(self):
        look(self, "views.mjs", everything.filled(self))

    def test_hostile_text_is_shown_as_text_and_changes_nothing_around_it(self):
        texts = json.dumps(list(hostile.NAMES.values()))
        look(self, "views-hostile.mjs", hostile.attacked(self), PAGE_TEXTS=texts)
