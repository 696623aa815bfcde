"""The sandbox costs nothing until it draws: its modules load neither Pillow nor PyAV."""

import subprocess
import sys

CODE = """
import importlib, sys
for noun in ("picture", "film", "sound", "words", "schema", "vectors"):
    importlib.import_module(f"gateway.sandbox.{noun}")
print(sorted({"av", "PIL", "numpy"} & set(sys.modules)))
"""


def test_heavy_libraries_are_not_imported() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
