#!/bin/sh
# The browser tests need Chromium and its driver. Where this is a Debian machine and we may, install them; else say so:
# the tests then skip with the same words.
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver) >/dev/null 2>&1 &&
        exit 0
fi
echo "Chromium is not installed and could not be: the browser tests will be skipped (apt-get install chromium chromium-driver)"
