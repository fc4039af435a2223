"""Data flows one way: a layer imports itself and the layers before it, never a later one."""

import ast
import subprocess
import sys
from pathlib import Path

import medleyrec

ROOT = Path(medleyrec.__file__).parent
ORDER = ["sources", "dataset", "features", "models", "training", "evaluation", "serving", "recipes", "progress", "cli"]
BORDERS = {"schema", "storage", "config", "interrupts"}  # what everyone may import, and which imports no layer


def imports(path: Path) -> set[str]:
    """Layers that a file names, TYPE_CHECKING blocks and late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        found |= {name.split(".")[1] for name in names if name.startswith("medleyrec.")}
    return found


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_no_layer_imports_a_later_one():
    files = [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"]
    assert {layer(p) for p in files} <= {*ORDER, *BORDERS}
    for path in files:
        own = ORDER.index(layer(path)) if layer(path) in ORDER else -1
        later = {n for n in imports(path) - BORDERS if n in ORDER and ORDER.index(n) > own}
        assert not later, f"{path.relative_to(ROOT)} imports {sorted(later)}, which come after it"


def test_the_command_line_starts_without_torch():
    code = "import sys, medleyrec.cli; print(sorted({'torch', 'sklearn', 'duckdb', 'accelerate'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
