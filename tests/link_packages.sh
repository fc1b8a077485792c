#!/bin/sh
# Lays the packages out as they are installed, as links under build/types/, for pyright, which reads no package-dir.
set -eu
cd "$(dirname "$0")/.."
rm -rf build/types
mkdir -p build/types
cp -rs "$PWD/homeostat" build/types/
for package in pipelines monitoring registry flows console; do cp -rs "$PWD/$package" build/types/homeostat/; done
