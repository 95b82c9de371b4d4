"""Pages whose examples need a shell or files: the RL Zoo's command, and Minari data read from an exported folder.

The other pages (Stable-Baselines3, TorchRL, CleanRL style, RLlib, verl-agent) are run by ``tests/test_docs.py`` where their
library is installed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOWTO = Path(__file__).parents[1] / "docs" / "howto"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (HOWTO / page).read_text(), re.DOTALL)


def test_rl_zoo_trains(tmp_path, monkeypatch):
    pytest.importorskip("rl_zoo3", reason="rl_zoo3 is not installed (its dependencies don't meet constraints.txt)")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ppo.yml").write_text(blocks("rlzoo.md", "yaml")[0])
    (command,) = blocks("rlzoo.md", "bash")
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", command], check=True, env=here, capture_output=True, text=True)
    for block in blocks("rlzoo.md", "py"):
        exec(compile(block, "rlzoo.md", "exec"), {"__name__": "example"})


def test_exported_minari_data_reads_as_the_page_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("minari", reason="minari is not installed: pip install 'credit-envs[export]'")
    pytest.importorskip("h5py")
    from credit_envs import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "elsewhere")
    command = blocks("export.md", "bash")[0].split()
    assert command[0] == "credit-envs"
    small = ["--instances", "2", "--groups", "1", "--splits", "train=0.5", "test=0.5"]
    assert cli.main([*command[1:], *small]) == 0
    (block,) = (b for b in blocks("export.md", "py") if "minari" in b)
    exec(compile(block, "export.md", "exec"), {"__name__": "example"})
    capsys.readouterr()
    listed = [line.split()[0] for line in blocks("export.md", "text")[0].splitlines()]
    for path in listed:
        assert (tmp_path / path).exists(), path
