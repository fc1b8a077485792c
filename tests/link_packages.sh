#!/bin/sh
# Lays the packages out as they are installed, as links under build/types/, for pyright, which reads no package-dir.
set -eu
cd "$(dirname "$0")/.."
links=build/types/homeostat
rm -rf build/types
mkdir -p "$links"
for place in homeostat/*; do ln -s "../../../$place" "$links/"; done
for package in pipelines monitoring registry flows console; do ln -s "../../../$package" "$links/"; done
