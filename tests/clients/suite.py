"""Runs every test beside this file, or those whose names contain one of the arguments."""

import pathlib
import sys
import unittest

loader = unittest.TestLoader()
if sys.argv[1:]:
    loader.testNamePatterns = [f"*{part}*" for part in sys.argv[1:]]
tests = loader.discover(str(pathlib.Path(__file__).parent))
result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(tests)
# A test counts once, however many of its parts have failed.
failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
# The last line, for people and for programs that count tests.
print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
sys.exit(1 if failed or not result.testsRun else 0)
