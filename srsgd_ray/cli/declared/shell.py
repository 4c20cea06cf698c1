"""The verb that teaches a shell to complete words."""

from __future__ import annotations

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _completion(add: Add) -> None:
    add("shell", metavar="SHELL", help="bash, zsh or fish")


VERBS = {
    "completion": Verb(
        "completion by the Tab key, as a script for a shell",
        "completion",
        _completion,
        "bash: srsgd-ray completion bash > ~/.local/share/bash-completion/completions/srsgd-ray"
        "\nzsh:  srsgd-ray completion zsh > ~/.zfunc/_srsgd-ray, a folder of your fpath"
        "\nfish: srsgd-ray completion fish > ~/.config/fish/completions/srsgd-ray.fish"
        "\nOnce, in folders that are there; again after an update. Then open a new shell.",
    ),
}
