"""``srsgd-ray completion``: a script by which a shell completes words, without starting Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from srsgd_ray.cli.declared import VERBS
from srsgd_ray.cli.parser import Parser, plainly
from srsgd_ray.knobs import one_of

SHELLS = ("bash", "zsh", "fish")
# What stands for a metavar's last word, by shell. Studies are found by their record or tables in
# results/; trials and arms are read from the record of the first word that is a study's folder.
BASH = r"""
_srsgd_ray_dir() {
  local file found=()
  for file in results/*/record.jsonl results/*/trials.parquet; do
    [[ -e $file && ${file%/*} == "$1"* ]] && found+=("${file%/*}")
  done
  if (( ${#found[@]} )); then printf '%s\n' "${found[@]}" | sort -u; else compgen -d -- "$1"; fi
}
_srsgd_ray_of_record() {
  local word
  for word in "${COMP_WORDS[@]}"; do
    [[ -e $word/record.jsonl ]] || continue
    local found='s/^{"event": "trial".*"'$1'": "\([^"]*\)", "\(phase\|number\)".*/\1/p'
    compgen -W "$(sed -n "$found" "$word/record.jsonl" | sort -u)" -- "$2"
    return
  done
}
_srsgd_ray_trials() { _srsgd_ray_of_record trial "$1"; }
_srsgd_ray_arms() { _srsgd_ray_of_record arm "$1"; }
"""
ZSH = r"""
_srsgd_ray_dir() {
  local -aU found
  found=(results/*/(record.jsonl|trials.parquet)(N:h))
  (( $#found )) && compadd -f -- $found || _files -/
}
_srsgd_ray_of_record() {
  local word
  for word in $words; do
    [[ -e $word/record.jsonl ]] || continue
    local found='s/^{"event": "trial".*"'$1'": "\([^"]*\)", "\(phase\|number\)".*/\1/p'
    compadd -- ${(fu)"$(sed -n $found $word/record.jsonl)"}
    return
  done
}
_srsgd_ray_trials() { _srsgd_ray_of_record trial }
_srsgd_ray_arms() { _srsgd_ray_of_record arm }
"""
FISH = r"""
function _srsgd_ray_dir
  set -l found
  for folder in results/*/
    if test -e $folder/record.jsonl -o -e $folder/trials.parquet
      set -a found (string trim -rc / $folder)
    end
  end
  if set -q found[1]
    printf '%s\n' $found
  else
    __fish_complete_directories
  end
end
function _srsgd_ray_of_record
  for word in (commandline -opc)
    test -e $word/record.jsonl; or continue
    set -l found 's/^{"event": "trial".*"'$argv[1]'": "\([^"]*\)", "\(phase\|number\)".*/\1/p'
    sed -n $found $word/record.jsonl | sort -u
    return
  end
end
function _srsgd_ray_trials; _srsgd_ray_of_record trial; end
function _srsgd_ray_arms; _srsgd_ray_of_record arm; end
"""
KINDS = {"FOLDER": "dir", "TRIAL": "trials", "A": "arms", "ARM": "arms"}


def completion_verb(given: argparse.Namespace) -> None:
    """Print the script for a shell."""
    import shtab

    one_of("shell", given.shell, SHELLS)
    preamble = {"bash": BASH, "zsh": ZSH, "fish": FISH}[given.shell]
    print(shtab.complete(_whole(), given.shell, preamble=preamble))


def _whole() -> Parser:
    """One parser with all verbs, as the library takes it."""
    whole = Parser(prog="srsgd-ray")
    whole.add_argument("--version", action="store_true", help="what is installed")
    groups: dict[str, Any] = {"": whole.add_subparsers()}
    for name, verb in VERBS.items():
        group, _, own = name.rpartition(" ")
        if group not in groups:
            parser = groups[""].add_parser(group, help="databases of images")
            groups[group] = parser.add_subparsers()
        parser = groups[group].add_parser(own, help=verb.help)
        verb.arguments(plainly(parser.add_argument))
        for action in parser._actions:
            _complete(action)
    return whole


def _complete(action: argparse.Action) -> None:
    """Say what a word stands for, by its name in the help."""
    import shtab

    named = action.metavar if isinstance(action.metavar, str) else ""
    words = {*named.split("|")}
    if words & {"FILE", "..."} or (action.type is Path and not named):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
        return
    for word, kind in KINDS.items():
        if word in words:
            function = f"_srsgd_ray_{kind}"
            ways = {"bash": function, "zsh": function, "fish": f"({function})"}
            action.complete = ways  # type: ignore[attr-defined]
            return
    if words & {"DIR", "RESULTS"}:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
