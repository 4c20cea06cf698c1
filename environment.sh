#!/bin/bash
# environment.sh FOLDER [CACHE]: a Python environment with all that constraints.txt pins, in FOLDER.
#
# cluster.yaml, cluster-local.yaml and Containerfile run it beside pyproject.toml. The first of
# these that is there is taken:
#   1. the environment in FOLDER, from an earlier run, a machine image or a container image;
#   2. its archive in CACHE, a folder that the nodes mount or a bucket, s3://BUCKET/FOLDER (by `aws`);
#   3. what pip installs (5 GB, some minutes); the archive is then put into CACHE for the next node.
# Environments and archives are known by a digest of all that they are made of. The package itself
# is installed anew each time. With KEEP_TORCH=1 the torch that python3 has is neither replaced nor
# hidden: constraints.txt holds for the rest.
set -euo pipefail
folder=$(readlink -m "$1") cache=${2:-}
cd "$(dirname "$(readlink -f "$0")")"
digest=$({
  cat pyproject.toml constraints.txt environment.sh
  echo "$folder"
  echo "${KEEP_TORCH:-}"
  python3 -c 'import sys; print(sys.version, sys.base_prefix)'
} | sha256sum | cut --characters=1-16)
archive=${cache%/}/srsgd-ray-env-$digest.tar.zst

stored() {
  case $archive in
    s3://*) aws s3 ls "$archive" > /dev/null ;;
    *) [ -e "$archive" ] ;;
  esac
}

fetch() {
  case $archive in
    s3://*) aws s3 cp --only-show-errors "$archive" - ;;
    *) cat "$archive" ;;
  esac | tar --extract --zstd --directory "$folder"
}

packed() {
  tar --create --use-compress-program='zstd -T0' --directory "$folder" .
}

store() { # It gets its name when it is whole: a tar that failed leaves none.
  local part=$archive.$HOSTNAME.$$
  case $archive in
    s3://*) packed | aws s3 cp --only-show-errors - "$part" &&
      aws s3 mv --only-show-errors "$part" "$archive" ;;
    *) packed > "$part" && mv "$part" "$archive" || { rm -f "$part"; false; } ;;
  esac
}

torch_of() { # The torch of the Python that is named: what pip says of it and what is imported.
  "$1" -m pip list --format=freeze 2> /dev/null | grep -E '^torch(vision)?=='
  "$1" -c 'import torch; print(torch.__version__, torch.__file__)'
}

install() {
  local pins before=
  pins=$(mktemp)
  if [ "${KEEP_TORCH:-}" ] && python3 -m pip show --quiet torch 2> /dev/null; then
    before=$(torch_of python3)
    { grep '==' <<< "$before"; grep -vE '^(torch|torchvision|triton|cuda-.*|nvidia-.*)==' \
      constraints.txt; } > "$pins"
    # By the pip that python3 has, which sees the packages around the environment.
    python3 -m venv --clear --without-pip --system-site-packages "$folder"
  else
    cp constraints.txt "$pins"
    python3 -m venv --clear "$folder"
  fi
  # An image's own PIP_CONSTRAINT (NVIDIA's) would pin the rest to what the image was made with.
  PIP_CONSTRAINT='' "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$pins" 'setuptools>=77' '.[aws,dashboard,optimizers]'
  if [ "$before" ] && [ "$before" != "$(torch_of "$folder/bin/python")" ]; then
    echo "The torch of this image would be replaced. It has: $before" >&2
    exit 1
  fi
}

if [ "$(cat "$folder/.digest" 2> /dev/null)" = "$digest" ]; then
  echo "$folder has all that constraints.txt pins: nothing is installed."
else
  rm -rf "$folder"
  mkdir -p "$folder"
  if [ "$cache" ] && ! command -v zstd > /dev/null; then
    echo "No zstd on this machine: $cache is not used."
    cache=
  fi
  if [ "$cache" ] && stored && fetch; then
    echo "$folder comes from $archive."
  else
    install
    [ -z "$cache" ] || store || echo "$archive is not written: the next node installs again."
  fi
  echo "$digest" > "$folder/.digest" # last, and in no archive: what was killed before it begins anew
fi
# What an earlier build left would win over files that are older than it.
rm -rf build
PIP_CONSTRAINT='' "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
  --no-deps --no-build-isolation .
