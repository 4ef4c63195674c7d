#!/usr/bin/env bash
# Does a browser show a report whole, and does the page ask for nothing outside itself?
#
#   tests/interop/report_in_browser.sh REPORT.html [SCREENSHOT.png]
#
# Loads the page in headless Chromium with a log of every request, fails when anything but the file
# itself was asked for, and leaves a screenshot to be looked at. First shows on a page with a foreign
# picture that such a request is seen.
#
# Needs Chromium (CHROMIUM names another binary) and Python 3.
set -euo pipefail

if [ $# -lt 1 ] || [ ! -f "$1" ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$browser" ]; then
    echo "error: no Chromium found; install it (apt-get install chromium) or set CHROMIUM" >&2
    exit 1
fi
report=$(realpath "$1")
screenshot=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# load PAGE LOG MORE...: names cannot be resolved, so nothing leaves this machine
load() {
    local page=$1 log=$2
    shift 2
    timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars \
        --no-first-run --disable-background-networking --disable-component-update \
        --disable-sync --disable-default-apps --disable-extensions \
        --user-data-dir="$work/profile-$(basename "$log")" \
        --host-resolver-rules='MAP * ~NOTFOUND' --log-net-log="$log" --net-log-capture-mode=Default \
        "$@" "file://$page" > "$work/out" 2> "$work/err" \
        || { cat "$work/err" >&2; exit 1; }
}

# Foreign addresses that a page asked for, one a line.
foreign() {
    python3 - "$1" "$2" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
try:
    log = json.loads(text)
except ValueError:  # the browser left before it ended the list
    log = json.loads(text.rstrip().rstrip(",") + "]}")
# The browser's own errands (updates, safe browsing) are not the page's.
own = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
seen = set()
for event in log["events"]:
    url = event.get("params", {}).get("url", "")
    if url.startswith(("http:", "https:", "ws:", "wss:", "ftp:")):
        host = url.split("/")[2].split(":")[0]
        if not host.endswith(own):
            seen.add(url)
    elif url.startswith("file:") and url != "file://" + sys.argv[2]:
        seen.add(url)
print("\n".join(sorted(seen)))
PY
}

printf '<!DOCTYPE html><title>x</title><img src="http://foreign.invalid/x.png">' > "$work/foreign.html"
load "$work/foreign.html" "$work/foreign.json" --dump-dom
if ! foreign "$work/foreign.json" "$work/foreign.html" | grep -q foreign.invalid; then
    echo "error: the log of requests does not show a foreign picture; this check would see nothing" >&2
    exit 1
fi

load "$report" "$work/report.json" --dump-dom
found=$(foreign "$work/report.json" "$report")
if [ -n "$found" ]; then
    printf 'error: the report asks for\n%s\n' "$found" >&2
    exit 1
fi
sections=$(grep -o '<section ' "$work/out" | wc -l)
figures=$(grep -o '<figure' "$work/out" | wc -l)
echo "loaded: $sections sections, $figures figures, no request outside the file"
if [ -n "$screenshot" ]; then
    load "$report" "$work/shot.json" --window-size=1250,12000 --screenshot="$(realpath -m "$screenshot")"
    echo "screenshot: $screenshot"
fi
