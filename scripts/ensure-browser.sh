#!/bin/sh
# Make sure that there is a Chromium for the browser tests.
set -eu
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -qy --no-install-recommends chromium
else
    echo "the browser tests need Chromium: sudo apt-get install chromium" >&2
    exit 1
fi
