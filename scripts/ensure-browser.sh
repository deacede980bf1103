#!/bin/sh
# Make sure that there is what the browser tests need: Chromium, and certutil to give it trust.
set -eu
command -v chromium >/dev/null && command -v certutil >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -qy --no-install-recommends chromium libnss3-tools
else
    echo "the browser tests need Chromium and certutil: sudo apt-get install chromium libnss3-tools" >&2
    exit 1
fi
